package horde

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Violation is one field of a request, and what is wrong with it.
type Violation struct{ Field, Description string }

// Error is what a mesh refuses. Decide on Reason, else on Code, never on the message.
type Error struct {
	Code codes.Code
	// The contract's, for example INSUFFICIENT_KUDOS; empty where the code says it all.
	Reason string
	// The package whose reasons these are, for example horde.api.ledger.v1.
	Domain     string
	Metadata   map[string]string
	Violations []Violation
	// How long to wait; nil where none was named.
	RetryAfter *time.Duration
	Message    string
}

func (e *Error) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s: %s", CodeName(e.Code), e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Reason, e.Message)
}

// CodeName is gRPC's own name of a code, for example NOT_FOUND.
func CodeName(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED" // Go's library alone spells it otherwise.
	}
	var name strings.Builder
	for index, letter := range code.String() {
		if index > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	return strings.ToUpper(name.String())
}

// damaged says that the bytes that came are not those that were promised, even when fetched again.
func damaged(message string) *Error {
	return &Error{Code: codes.DataLoss, Reason: "DAMAGED_IMAGE", Message: message}
}

// errorOf is the error of a call as an *Error; nil for none.
func errorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if known, ok := err.(*Error); ok {
		return known
	}
	told := status.Convert(err)
	found := &Error{Code: told.Code(), Message: told.Message()}
	for _, detail := range told.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			found.Reason, found.Domain, found.Metadata = detail.Reason, detail.Domain, detail.Metadata
		case *errdetails.BadRequest:
			for _, wrong := range detail.FieldViolations {
				found.Violations = append(found.Violations, Violation{wrong.Field, wrong.Description})
			}
		case *errdetails.RetryInfo:
			wait := time.Duration(detail.RetryDelay.GetSeconds())*time.Second + time.Duration(detail.RetryDelay.GetNanos())
			found.RetryAfter = &wait
		}
	}
	return found
}
