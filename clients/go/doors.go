package horde

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	storagev1 "github.com/horde-mesh/horde-mesh-go/api/storage/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// maxRouters is how many storage routers one client speaks to at once.
const maxRouters = 16

// alive notices a link that died without a word, also under a stream. Gateways allow a ping each 5 s.
var alive = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 8 * time.Second, PermitWithoutStream: true}

var loopback = regexp.MustCompile(`^(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+$`)

// doors are the two of a mesh: the gateway, and the storage routers that it names. Callers know only the first.
type doors struct {
	gateway       *grpc.ClientConn
	authorization string
	options       Options
	mutex         sync.Mutex
	routers       map[string]*grpc.ClientConn
}

func openDoors(target, authorization string, options Options) (*doors, error) {
	gateway, err := dial(target, options)
	return &doors{gateway: gateway, authorization: authorization, options: options, routers: map[string]*grpc.ClientConn{}}, err
}

// wire writes and reads messages by the library that they are generated for: older gRPC brings another, which cannot.
type wire struct{}

func (wire) Name() string { return "proto" }

func (wire) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (wire) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func dial(address string, options Options) (*grpc.ClientConn, error) {
	common := []grpc.DialOption{
		grpc.WithDisableRetry(), grpc.WithKeepaliveParams(alive), grpc.WithDefaultCallOptions(grpc.ForceCodec(wire{})),
	}
	if options.Authority == nil && (options.Plaintext || loopback.MatchString(address)) {
		return grpc.Dial(address, append(common, grpc.WithInsecure())...)
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if options.Authority != nil {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(options.Authority) {
			return nil, errors.New("the authority is no PEM certificate")
		}
	}
	return grpc.Dial(address, append(common, grpc.WithTransportCredentials(credentials.NewTLS(settings)))...)
}

// asking says who asks: to the gateway alone, never to a router.
func (d *doors) asking(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", d.authorization)
}

func (d *doors) attempts() *attempts { return &attempts{patience: d.options.Patience} }

// ask makes one call to the gateway, patiently.
func (d *doors) ask(ctx context.Context, method string, request, answer interface{}) error {
	return d.attempts().patiently(ctx, func() error {
		ctx, stop := context.WithTimeout(d.asking(ctx), d.options.Patience.Attempt)
		defer stop()
		return d.gateway.Invoke(ctx, "/"+method, request, answer)
	})
}

func (d *doors) storage(address string) (storagev1.StorageServiceClient, error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	router, known := d.routers[address]
	if !known {
		if len(d.routers) >= maxRouters {
			return nil, fmt.Errorf("the mesh named more than %d storage routers", maxRouters)
		}
		var err error
		if router, err = dial(address, d.options); err != nil {
			return nil, err
		}
		d.routers[address] = router
	}
	return storagev1.NewStorageServiceClient(router), nil
}

func (d *doors) close() error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, router := range d.routers {
		_ = router.Close()
	}
	return d.gateway.Close()
}
