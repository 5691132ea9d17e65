package horde

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"time"

	generationv1 "github.com/horde-mesh/horde-mesh-go/api/generation/v1"
	jobv1 "github.com/horde-mesh/horde-mesh-go/api/job/v1"
	storagev1 "github.com/horde-mesh/horde-mesh-go/api/storage/v1"
	"google.golang.org/grpc/codes"
)

const (
	chunkBytes        = 256 * 1024
	maxImageBytes     = 256 * 1024 * 1024
	maxExpiredTickets = 3
	putTimeout        = 5 * time.Minute
)

// fetch gives the bytes of a finished image, checked against its SHA-256; a broken download goes on where it broke.
func (d *doors) fetch(ctx context.Context, generation *generationv1.Generation, jobID string) ([]byte, error) {
	image, err := imageOf(generation, jobID)
	if err != nil {
		return nil, err
	}
	way := &download{doors: d, promised: image.Sha256}
	attempts := d.attempts()
	for expired := 0; ; {
		failure := errorOf(way.run(ctx, image.Download))
		if failure == nil {
			return way.content, nil
		}
		if failure.Reason == "TOKEN_EXPIRED" {
			failure = &Error{Code: codes.Unavailable, Message: "Every ticket is expired when it arrives: the clocks differ."}
			if expired++; expired > maxExpiredTickets {
				return nil, failure
			}
			if last := attempts.pauseAfter(ctx, failure); last != nil {
				return nil, last
			}
			if generation, err = d.get(ctx, generation.GenerationId); err == nil {
				image, err = imageOf(generation, jobID)
			}
			if err != nil {
				return nil, err
			}
		} else if last := attempts.pauseAfter(ctx, failure); last != nil {
			return nil, last
		}
	}
}

func (d *doors) get(ctx context.Context, generationID string) (*generationv1.Generation, error) {
	answer := &generationv1.GetGenerationResponse{}
	request := &generationv1.GetGenerationRequest{GenerationId: generationID}
	err := d.ask(ctx, generations+"GetGeneration", request, answer)
	return answer.Generation, err
}

// put stores a source image, mask or control image for an hour, and names it for a spec.
func (d *doors) put(ctx context.Context, content []byte, inputID string) (*jobv1.InputImage, error) {
	digest := sha256.Sum256(content)
	err := d.attempts().patiently(ctx, func() error {
		ticket := &generationv1.CreateInputTicketResponse{}
		request := &generationv1.CreateInputTicketRequest{InputId: inputID}
		if err := d.ask(ctx, generations+"CreateInputTicket", request, ticket); err != nil {
			return err
		}
		if ticket.MaxBytes > 0 && int64(len(content)) > ticket.MaxBytes {
			limit := map[string]string{"limit": strconv.FormatInt(ticket.MaxBytes, 10), "unit": "bytes"}
			return &Error{Code: codes.InvalidArgument, Reason: "TOO_LARGE", Metadata: limit, Message: "The picture is over a limit."}
		}
		return d.send(ctx, ticket, content, digest[:])
	})
	return &jobv1.InputImage{InputId: inputID, Sha256: digest[:]}, err
}

func (d *doors) send(ctx context.Context, ticket *generationv1.CreateInputTicketResponse, content, digest []byte) error {
	router, err := d.storage(ticket.Address)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, putTimeout)
	defer stop()
	stream, err := router.PutInput(ctx)
	if err != nil {
		return err
	}
	open := &storagev1.PutInputRequest_Open{Open: &storagev1.PutInputOpen{Ticket: ticket.Ticket}}
	parts := []*storagev1.PutInputRequest{{Message: open}}
	for offset := 0; offset < len(content); offset += chunkBytes {
		end := offset + chunkBytes
		if end > len(content) {
			end = len(content)
		}
		chunk := &storagev1.Chunk{Offset: int64(offset), Data: content[offset:end]}
		parts = append(parts, &storagev1.PutInputRequest{Message: &storagev1.PutInputRequest_Chunk{Chunk: chunk}})
	}
	finish := &storagev1.UploadFinish{Sha256: digest, SizeBytes: int64(len(content))}
	parts = append(parts, &storagev1.PutInputRequest{Message: &storagev1.PutInputRequest_Finish{Finish: finish}})
	for _, part := range parts {
		if err := stream.Send(part); err != nil {
			break // Why it was closed is told by what follows.
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func imageOf(generation *generationv1.Generation, jobID string) (*generationv1.Image, error) {
	about := map[string]string{"job_id": jobID}
	for _, image := range generation.Images {
		switch {
		case image.JobId != jobID:
		case image.Download != nil && !image.Withdrawn:
			return image, nil
		case image.Withdrawn || image.Ending == jobv1.JobEnding_JOB_ENDING_DONE:
			return nil, &Error{Code: codes.NotFound, Reason: "OBJECT_NOT_FOUND", Metadata: about, Message: fmt.Sprintf("Image %d is gone.", image.Index)}
		default:
			return nil, &Error{Code: codes.FailedPrecondition, Reason: "IMAGE_NOT_FINISHED", Metadata: about, Message: fmt.Sprintf("Image %d has no picture.", image.Index)}
		}
	}
	return nil, &Error{Code: codes.NotFound, Metadata: about, Message: "The generation has no such image."}
}

// download is one image on its way: keeps what has come, over broken streams and new tickets.
type download struct {
	doors      *doors
	promised   []byte
	content    []byte
	begunAgain bool
}

func (w *download) run(ctx context.Context, way *generationv1.ImageDownload) error {
	for {
		if err := w.read(ctx, way); err != nil {
			return err
		}
		digest := sha256.Sum256(w.content)
		if bytes.Equal(digest[:], w.promised) {
			return nil
		}
		w.content = nil
		if w.begunAgain {
			return damaged("The bytes of the image are not those that were promised.")
		}
		w.begunAgain = true
	}
}

func (w *download) read(ctx context.Context, way *generationv1.ImageDownload) error {
	router, err := w.doors.storage(way.Address)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := router.Download(ctx, &storagev1.DownloadRequest{Ticket: way.Ticket, Offset: int64(len(w.content))})
	if err != nil {
		return err
	}
	var size int64
	for {
		response, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if header := response.GetHeader(); header != nil {
			if size = header.SizeBytes; size > maxImageBytes {
				return damaged(fmt.Sprintf("The image would be %d bytes large.", size))
			}
		}
		if chunk := response.GetChunk(); chunk != nil {
			if chunk.Offset != int64(len(w.content)) || len(w.content) > maxImageBytes {
				return damaged("The parts of the image do not fit together.")
			}
			w.content = append(w.content, chunk.Data...)
		}
	}
	if int64(len(w.content)) < size {
		return &Error{Code: codes.Unavailable, Message: "The download ended early."}
	}
	return nil
}
