// Package horde is the client of a horde mesh: ask for pictures, watch them being painted, fetch them.
package horde

import (
	"context"

	generationv1 "github.com/horde-mesh/horde-mesh-go/api/generation/v1"
	jobv1 "github.com/horde-mesh/horde-mesh-go/api/job/v1"
	"google.golang.org/protobuf/proto"
)

const generations = "horde.api.generation.v1.GenerationService/"

// Options say who asks and how. Without a key: HORDE_API_KEY, the key kept for this mesh, else an anonymous token that
// is made once for this mesh and kept.
type Options struct {
	APIKey string
	// Skip every key.
	Anonymous bool
	// The digits of a token of your own.
	AnonymousToken string
	// Where keys and tokens are kept; empty: the user's.
	ConfigFolder string
	// PEM of an authority of your own; nil: the system's.
	Authority []byte
	// Speak plainly to another machine. Everybody on the way can read your key.
	Plaintext bool
	// Zero: the usual.
	Patience Patience
}

// Client is one requester's view of a mesh. For any number of goroutines.
type Client struct{ doors *doors }

// Open a client of the mesh whose gateway is at target.
func Open(target string, options Options) (*Client, error) {
	if options.Patience == (Patience{}) {
		options.Patience = usualPatience
	}
	if options.Patience.Attempt == 0 {
		options.Patience.Attempt = usualAttempt
	}
	who, err := authorization(target, options)
	if err != nil {
		return nil, err
	}
	doors, err := openDoors(target, who, options)
	return &Client{doors}, err
}

// Close the connections.
func (c *Client) Close() error { return c.doors.close() }

// Spec is what to paint, in short: one picture of 128 x 128 in 20 steps by paintbox, to be changed. The mesh checks
// every field.
func Spec(prompt string) *generationv1.GenerationSpec {
	image := &jobv1.ImageSpec{Prompt: prompt, Width: 128, Height: 128, Steps: 20}
	job := &jobv1.JobSpec{Model: "paintbox", Kind: &jobv1.JobSpec_Image{Image: image}}
	return &generationv1.GenerationSpec{Job: job, Count: 1}
}

// Quote says what it would cost, where its images would go and how long it might wait. Changes nothing.
func (c *Client) Quote(ctx context.Context, spec *generationv1.GenerationSpec) (*generationv1.Quote, error) {
	answer := &generationv1.QuoteGenerationResponse{}
	err := c.Call(ctx, generations+"QuoteGeneration", &generationv1.QuoteGenerationRequest{Spec: spec}, answer)
	return answer.Quote, err
}

// Asking is how to ask.
type Asking struct {
	// A UUID, if the whole process may be repeated: the same id with the same spec is the same generation. Empty: drawn.
	RequestID      string
	MaxTotalMkudos *int64
	// It goes on when the session is left.
	GoesOn bool
}

// Generate asks for images. Leave the session, and what is not finished is cancelled.
func (c *Client) Generate(ctx context.Context, spec *generationv1.GenerationSpec, asking Asking) (*Session, error) {
	if asking.RequestID == "" {
		asking.RequestID = NewID()
	}
	request := &generationv1.CreateGenerationRequest{
		RequestId: asking.RequestID, Spec: spec, MaxTotalMkudos: asking.MaxTotalMkudos,
	}
	answer := &generationv1.CreateGenerationResponse{}
	if err := c.Call(ctx, generations+"CreateGeneration", request, answer); err != nil {
		return nil, err
	}
	return &Session{answer.Generation, c.doors, !asking.GoesOn}, nil
}

// Following is a session on what was asked for before, also by another process. Leaving it cancels nothing.
func (c *Client) Following(ctx context.Context, generationID string) (*Session, error) {
	generation, err := c.doors.get(ctx, generationID)
	if err != nil {
		return nil, err
	}
	return &Session{generation, c.doors, false}, nil
}

// Fetch gives the bytes of a finished image.
func (c *Client) Fetch(ctx context.Context, generationID, jobID string) ([]byte, error) {
	generation, err := c.doors.get(ctx, generationID)
	if err != nil {
		return nil, err
	}
	return c.doors.fetch(ctx, generation, jobID)
}

// Put stores a source image, mask or control image for an hour, and names it for a spec. Make the id with NewID, and
// keep it if the whole process may be repeated.
func (c *Client) Put(ctx context.Context, content []byte, inputID string) (*jobv1.InputImage, error) {
	return c.doors.put(ctx, content, inputID)
}

// Call makes any call of the contract that is no stream: "horde.api.mesh.v1.MeshService/GetMesh".
func (c *Client) Call(ctx context.Context, method string, request, answer proto.Message) error {
	return c.doors.ask(ctx, method, request, answer)
}
