package horde

import (
	"context"
	"math"
	"math/rand"
	"time"

	"google.golang.org/grpc/codes"
)

// Patience is how long to go on trying: after the first failure of one call, or since a watch last heard something.
// Attempt is what one attempt of a call with one answer may take, so that a mute mesh holds nobody; zero: ten seconds.
type Patience struct{ Total, FirstPause, LongestPause, Attempt time.Duration }

const usualAttempt = 10 * time.Second

var usualPatience = Patience{30 * time.Second, 100 * time.Millisecond, 3 * time.Second, usualAttempt}

// attempts are those of one call. Every call bears repetition: it reads, or it carries an id that was made before.
type attempts struct {
	patience           Patience
	failures, internal int
	began              time.Time
}

// succeeded: something was heard, so patience is whole again.
func (a *attempts) succeeded() { a.failures, a.internal, a.began = 0, 0, time.Time{} }

// pauseAfter waits until the next attempt may be made; it gives back the error if there should be none.
func (a *attempts) pauseAfter(ctx context.Context, err *Error) error {
	now := time.Now()
	if a.began.IsZero() {
		a.began = now
	}
	if err.Code == codes.Internal {
		a.internal++
	}
	// A defect is asked about once more, then told.
	if a.internal > 1 || !worthRetrying(err) || ctx.Err() != nil {
		return err
	}
	grown := float64(a.patience.FirstPause) * math.Pow(2, math.Min(float64(a.failures), 16))
	pause := time.Duration(math.Min(grown, float64(a.patience.LongestPause)) * (0.5 + rand.Float64()/2))
	if err.RetryAfter != nil {
		// Never before the time that the mesh named; a little later, so that not all come back at once.
		pause = *err.RetryAfter + pause/4
	}
	if now.Sub(a.began)+pause > a.patience.Total {
		return err
	}
	a.failures++
	select {
	case <-ctx.Done():
		return err
	case <-time.After(pause):
		return nil
	}
}

func worthRetrying(err *Error) bool {
	if err.Reason == "BUDGET_SPENT" || err.Reason == "DAMAGED_IMAGE" {
		return false
	}
	if err.RetryAfter != nil || err.Reason == "TOO_SLOW" {
		return true
	}
	return err.Code == codes.Unavailable || err.Code == codes.DeadlineExceeded || err.Code == codes.Internal
}

// patiently makes a call, again while that may help.
func (a *attempts) patiently(ctx context.Context, call func() error) error {
	for {
		err := errorOf(call())
		if err == nil {
			return nil
		}
		if last := a.pauseAfter(ctx, err); last != nil {
			return last
		}
	}
}
