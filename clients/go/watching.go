package horde

import (
	generationv1 "github.com/horde-mesh/horde-mesh-go/api/generation/v1"
	jobv1 "github.com/horde-mesh/horde-mesh-go/api/job/v1"
)

// Event is one thing that a watcher hears. Of the fields those are set that its kind has.
type Event struct {
	// snapshot, image, progress, preview, wait or finished.
	Kind        string
	Generation  *generationv1.Generation
	Image       *generationv1.Image
	Index       int32
	JobID       string
	Step, Steps int32
	Preview     []byte
	Wait        *generationv1.WaitEstimate
}

// order drops what is old: versions never go backwards, progress counts only for the current lease and only forwards.
type order struct {
	version int64
	images  map[string]*generationv1.Image
	steps   map[string]int32
}

func newOrder() *order {
	return &order{-1, map[string]*generationv1.Image{}, map[string]int32{}}
}

// accept gives the event that a message is; nil for one that is late, or of a kind unknown here.
func (o *order) accept(response *generationv1.WatchGenerationResponse) *Event {
	switch told := response.Event.(type) {
	case *generationv1.WatchGenerationResponse_Snapshot:
		return o.whole("snapshot", told.Snapshot)
	case *generationv1.WatchGenerationResponse_Finished:
		return o.whole("finished", told.Finished)
	case *generationv1.WatchGenerationResponse_Image:
		image := told.Image
		if known := o.images[image.JobId]; known != nil && image.Version <= known.Version {
			return nil
		}
		if image.Version > o.version {
			o.version = image.Version
		}
		o.keep(image)
		return &Event{Kind: "image", Image: image, Index: image.Index, JobID: image.JobId}
	case *generationv1.WatchGenerationResponse_Progress:
		at := told.Progress
		image := o.leased(at.JobId, at.LeaseId)
		if image == nil || at.Step <= o.steps[at.LeaseId] {
			return nil
		}
		o.steps[at.LeaseId] = at.Step
		return &Event{Kind: "progress", Index: image.Index, JobID: at.JobId, Step: at.Step, Steps: at.Steps}
	case *generationv1.WatchGenerationResponse_Preview:
		at := told.Preview
		if image := o.leased(at.JobId, at.LeaseId); image != nil {
			return &Event{Kind: "preview", Index: image.Index, JobID: at.JobId, Step: at.Step, Preview: at.Image}
		}
	case *generationv1.WatchGenerationResponse_Wait:
		image := o.images[told.Wait.JobId]
		if image != nil && image.State == jobv1.JobState_JOB_STATE_QUEUED {
			return &Event{Kind: "wait", Index: image.Index, JobID: image.JobId, Wait: told.Wait.Wait}
		}
	}
	return nil
}

func (o *order) whole(kind string, generation *generationv1.Generation) *Event {
	if generation.Version < o.version {
		return nil
	}
	o.version = generation.Version
	for _, image := range generation.Images {
		o.keep(image)
		if image.LeaseId != "" && image.Step > o.steps[image.LeaseId] {
			o.steps[image.LeaseId] = image.Step
		}
	}
	return &Event{Kind: kind, Generation: generation}
}

func (o *order) keep(image *generationv1.Image) {
	if known := o.images[image.JobId]; known != nil && known.LeaseId != image.LeaseId {
		delete(o.steps, known.LeaseId)
	}
	o.images[image.JobId] = image
}

func (o *order) leased(jobID, leaseID string) *generationv1.Image {
	if image := o.images[jobID]; image != nil && leaseID != "" && image.LeaseId == leaseID {
		return image
	}
	return nil
}
