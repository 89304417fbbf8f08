// An RTSP server that is not ours: takes one stream (ANNOUNCE) and gives it to everybody who asks (DESCRIBE).
// On gortsplib, after its own example. Says its port on the first line of its output. With -user and -password
// whoever asks for the stream has to give both.
package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

// What cameras offer; FFmpeg knows no SHA-256.
var methods = []auth.ValidateMethod{auth.ValidateMethodDigestMD5}

type relay struct {
	server         *gortsplib.Server
	user, password string
	nonce          string

	mutex     sync.Mutex
	stream    *gortsplib.ServerStream
	publisher *gortsplib.ServerSession
}

func answer(status base.StatusCode) *base.Response { return &base.Response{StatusCode: status} }

func (r *relay) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.stream != nil && ctx.Session == r.publisher {
		r.stream.Close()
		r.stream = nil
	}
}

func (r *relay) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if r.user != "" {
		if auth.Validate(ctx.Request, r.user, r.password, methods, "camera", r.nonce) != nil {
			return &base.Response{
				StatusCode: base.StatusUnauthorized,
				Header:     base.Header{"WWW-Authenticate": auth.GenerateWWWAuthenticate(methods, "camera", r.nonce)},
			}, nil, nil
		}
	}
	return r.given()
}

func (r *relay) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return r.given()
}

func (r *relay) given() (*base.Response, *gortsplib.ServerStream, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.stream == nil {
		return answer(base.StatusNotFound), nil, nil
	}
	return answer(base.StatusOK), r.stream, nil
}

func (r *relay) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.stream != nil {
		r.stream.Close()
		r.publisher.Close()
	}
	r.stream = gortsplib.NewServerStream(r.server, ctx.Description)
	r.publisher = ctx.Session
	return answer(base.StatusOK), nil
}

func (r *relay) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return answer(base.StatusOK), nil
}

func (r *relay) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	stream := r.stream
	ctx.Session.OnPacketRTPAny(func(medium *description.Media, _ format.Format, packet *rtp.Packet) {
		stream.WritePacketRTP(medium, packet)
	})
	return answer(base.StatusOK), nil
}

func main() {
	user := flag.String("user", "", "who may look")
	password := flag.String("password", "", "and how they show it")
	flag.Parse()
	nonce, err := auth.GenerateNonce()
	if err != nil {
		panic(err)
	}
	r := &relay{user: *user, password: *password, nonce: nonce}
	r.server = &gortsplib.Server{
		Handler:     r,
		RTSPAddress: "127.0.0.1:0",
		Listen: func(network, address string) (net.Listener, error) {
			listener, err := net.Listen(network, address)
			if err == nil {
				fmt.Println(listener.Addr().(*net.TCPAddr).Port)
			}
			return listener, err
		},
	}
	fmt.Fprintln(os.Stderr, r.server.StartAndWait())
	os.Exit(1)
}
