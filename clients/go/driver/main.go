// The driver of this SDK for `horde conform`: JSON lines over standard input and output; see clients/README.md.
package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	horde "github.com/horde-mesh/horde-mesh-go"
	_ "github.com/horde-mesh/horde-mesh-go/api/account/v1"
	generationv1 "github.com/horde-mesh/horde-mesh-go/api/generation/v1"
	_ "github.com/horde-mesh/horde-mesh-go/api/mesh/v1"
	_ "github.com/horde-mesh/horde-mesh-go/api/model/v1"
	_ "github.com/horde-mesh/horde-mesh-go/api/standing/v1"
	_ "github.com/horde-mesh/horde-mesh-go/api/worker/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

type asked struct {
	ID              int             `json:"id"`
	Op              string          `json:"op"`
	Client          string          `json:"client"`
	Session         string          `json:"session"`
	Target          string          `json:"target"`
	APIKey          string          `json:"api_key"`
	Anonymous       string          `json:"anonymous"`
	ConfigFolder    string          `json:"config_folder"`
	PatienceSeconds float64         `json:"patience_seconds"`
	AttemptSeconds  float64         `json:"attempt_seconds"`
	Method          string          `json:"method"`
	Request         json.RawMessage `json:"request"`
	Spec            json.RawMessage `json:"spec"`
	RequestID       string          `json:"request_id"`
	MaxTotalMkudos  *int64          `json:"max_total_mkudos"`
	Cancels         *bool           `json:"cancels"`
	GenerationID    string          `json:"generation_id"`
	JobID           string          `json:"job_id"`
	Previews        bool            `json:"previews"`
	Until           string          `json:"until"`
	Content         string          `json:"content"`
	InputID         string          `json:"input_id"`
}

type told map[string]interface{}

var (
	clients  = map[string]*horde.Client{}
	sessions = map[string]*horde.Session{}
	ctx      = context.Background()
)

func plain(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		panic(err)
	}
	return text
}

func digested(content []byte) told {
	digest := sha256.Sum256(content)
	return told{"sha256": hex.EncodeToString(digest[:]), "size": len(content)}
}

func enter(session *horde.Session, err error) (told, error) {
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("session %d %s", len(sessions), session.Generation.GenerationId)
	sessions[name] = session
	return told{"session": name, "generation": plain(session.Generation)}, nil
}

func specIn(text json.RawMessage) (*generationv1.GenerationSpec, error) {
	spec := &generationv1.GenerationSpec{}
	return spec, protojson.Unmarshal(text, spec)
}

func call(a asked) (told, error) {
	service, name, _ := strings.Cut(a.Method, "/")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, err
	}
	method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
	input, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
	if err != nil {
		return nil, err
	}
	output, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	request, answer := input.New().Interface(), output.New().Interface()
	if err := protojson.Unmarshal(a.Request, request); err != nil {
		return nil, err
	}
	err = clients[a.Client].Call(ctx, a.Method, request, answer)
	return told{"response": plain(answer)}, err
}

func watch(a asked) (told, error) {
	session, events := sessions[a.Session], []told{}
	err := session.Watch(ctx, a.Previews, func(event horde.Event) bool {
		about := told{"kind": event.Kind, "index": event.Index, "step": event.Step}
		if event.Generation != nil {
			about["version"] = event.Generation.Version
		} else if event.Image != nil {
			about["version"] = event.Image.Version
		}
		events = append(events, about)
		return event.Kind != a.Until
	})
	return told{"events": events, "generation": plain(session.Generation)}, err
}

func pictures(a asked) (told, error) {
	session, found := sessions[a.Session], []told{}
	err := session.Pictures(ctx, func(image *generationv1.Image, content []byte) error {
		about := digested(content)
		about["index"], about["promised_sha256"] = image.Index, hex.EncodeToString(image.Sha256)
		found = append(found, about)
		return nil
	})
	return told{"pictures": found, "generation": plain(session.Generation)}, err
}

func do(a asked) (told, error) {
	client, session := clients[a.Client], sessions[a.Session]
	switch a.Op {
	case "hello":
		return told{"name": "go", "version": "0.1.0"}, nil
	case "open":
		patience := horde.Patience{Total: 30 * time.Second, FirstPause: 20 * time.Millisecond, LongestPause: 3 * time.Second}
		if a.PatienceSeconds > 0 {
			patience.Total = time.Duration(a.PatienceSeconds * float64(time.Second))
		}
		patience.Attempt = time.Duration(a.AttemptSeconds * float64(time.Second))
		opened, err := horde.Open(a.Target, horde.Options{
			APIKey: a.APIKey, Anonymous: a.APIKey == "", AnonymousToken: a.Anonymous, ConfigFolder: a.ConfigFolder, Patience: patience,
		})
		clients[a.Client] = opened
		return told{}, err
	case "close":
		delete(clients, a.Client)
		return told{}, client.Close()
	case "call":
		return call(a)
	case "quote":
		spec, err := specIn(a.Spec)
		if err != nil {
			return nil, err
		}
		quote, err := client.Quote(ctx, spec)
		return told{"quote": plain(quote)}, err
	case "generate":
		spec, err := specIn(a.Spec)
		if err != nil {
			return nil, err
		}
		goesOn := a.Cancels != nil && !*a.Cancels
		return enter(client.Generate(ctx, spec, horde.Asking{RequestID: a.RequestID, MaxTotalMkudos: a.MaxTotalMkudos, GoesOn: goesOn}))
	case "following":
		return enter(client.Following(ctx, a.GenerationID))
	case "watch":
		return watch(a)
	case "pictures":
		return pictures(a)
	case "fetch":
		content, err := client.Fetch(ctx, a.GenerationID, a.JobID)
		return digested(content), err
	case "put":
		content, err := base64.StdEncoding.DecodeString(a.Content)
		if err != nil {
			return nil, err
		}
		if a.InputID == "" {
			a.InputID = horde.NewID()
		}
		input, err := client.Put(ctx, content, a.InputID)
		return told{"input": plain(input)}, err
	case "cancel":
		err := session.Cancel(ctx)
		return told{"generation": plain(session.Generation)}, err
	case "leave":
		delete(sessions, a.Session)
		session.Leave()
		return told{"generation": plain(session.Generation)}, nil
	}
	return nil, fmt.Errorf("there is no operation %q", a.Op)
}

func errorOf(err error) told {
	var refused *horde.Error
	if !errors.As(err, &refused) {
		return told{"code": "DRIVER", "message": err.Error()}
	}
	fields := []string{}
	for _, violation := range refused.Violations {
		fields = append(fields, violation.Field)
	}
	about := told{
		"code": horde.CodeName(refused.Code), "reason": refused.Reason, "domain": refused.Domain, "message": refused.Message,
		"metadata": refused.Metadata, "violations": fields,
	}
	if refused.RetryAfter != nil {
		about["retry_after_s"] = refused.RetryAfter.Seconds()
	}
	return about
}

func main() {
	lines, out := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var a asked
		if err := json.Unmarshal(line, &a); err != nil {
			panic(err)
		}
		answer := told{"id": a.ID}
		if done, err := do(a); err != nil {
			answer["error"] = errorOf(err)
		} else {
			answer["ok"] = done
		}
		if err := out.Encode(answer); err != nil {
			panic(err)
		}
	}
}
