package horde

import (
	"context"
	"io"
	"time"

	generationv1 "github.com/horde-mesh/horde-mesh-go/api/generation/v1"
	jobv1 "github.com/horde-mesh/horde-mesh-go/api/job/v1"
	"google.golang.org/grpc/codes"
)

// leaving is how long leaving a session may take to say cancel.
const leaving = 5 * time.Second

// Session is a generation for as long as somebody wants it: Leave cancels what is not finished. Of one goroutine.
type Session struct {
	// As it was last heard of.
	Generation *generationv1.Generation
	doors      *doors
	cancels    bool
}

// Watch calls back for what happens, until it is finished or the callback says false. A broken stream is opened again,
// and goes on with a new snapshot.
func (s *Session) Watch(ctx context.Context, previews bool, each func(Event) bool) error {
	order, attempts := newOrder(), s.doors.attempts()
	request := &generationv1.WatchGenerationRequest{GenerationId: s.Generation.GenerationId, Previews: previews}
	for {
		over, failure := s.watchOnce(ctx, request, order, attempts, each)
		if over {
			return nil
		}
		if last := attempts.pauseAfter(ctx, errorOf(failure)); last != nil {
			return last
		}
	}
}

// watchOnce watches one stream: whether it is over, else what broke it.
func (s *Session) watchOnce(
	ctx context.Context, request *generationv1.WatchGenerationRequest, order *order, attempts *attempts, each func(Event) bool,
) (bool, error) {
	ctx, stop := context.WithCancel(s.doors.asking(ctx))
	defer stop()
	stream, err := generationv1.NewGenerationServiceClient(s.doors.gateway).WatchGeneration(ctx, request)
	if err != nil {
		return false, err
	}
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			return false, &Error{Code: codes.Unavailable, Message: "The stream ended before the generation did."}
		}
		if err != nil {
			return false, err
		}
		attempts.succeeded()
		event := order.accept(response)
		if event == nil {
			continue
		}
		s.remember(event)
		if !each(*event) || event.Kind == "finished" {
			return true, nil
		}
	}
}

func (s *Session) remember(event *Event) {
	if event.Generation != nil {
		s.Generation = event.Generation
	}
	for place, image := range s.Generation.Images {
		if event.Image != nil && image.JobId == event.Image.JobId {
			s.Generation.Images[place] = event.Image
		}
	}
}

// Finish waits until every image has ended.
func (s *Session) Finish(ctx context.Context) (*generationv1.Generation, error) {
	err := s.Watch(ctx, false, func(Event) bool { return true })
	return s.Generation, err
}

// Pictures waits for the end, then calls back for every image that is done, with its bytes.
func (s *Session) Pictures(ctx context.Context, each func(*generationv1.Image, []byte) error) error {
	generation, err := s.Finish(ctx)
	if err != nil {
		return err
	}
	for _, image := range generation.Images {
		if image.Ending != jobv1.JobEnding_JOB_ENDING_DONE {
			continue
		}
		content, err := s.Fetch(ctx, image)
		if err == nil {
			err = each(image, content)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Fetch gives the bytes of a finished image.
func (s *Session) Fetch(ctx context.Context, image *generationv1.Image) ([]byte, error) {
	return s.doors.fetch(ctx, s.Generation, image.JobId)
}

// Cancel ends what has not ended; finished images stay.
func (s *Session) Cancel(ctx context.Context) error {
	answer := &generationv1.CancelGenerationResponse{}
	request := &generationv1.CancelGenerationRequest{GenerationId: s.Generation.GenerationId}
	err := s.doors.ask(ctx, generations+"CancelGeneration", request, answer)
	if err == nil {
		s.Generation = answer.Generation
	}
	return err
}

// Leave cancels what is not finished, unless it should go on: defer it. It says nothing of errors, for whoever leaves in
// a hurry wants no second one; the time to live ends the generation in any case.
func (s *Session) Leave() {
	if s.Generation.Finished || !s.cancels {
		return
	}
	// The caller's context may be what ended: cancelling has its own.
	ctx, stop := context.WithTimeout(context.Background(), leaving)
	defer stop()
	_ = s.Cancel(ctx)
}
