package intake_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/eventspine/spine/pkg/intake"
)

// A connection that is open and never asks, as browsers and load balancers hold them,
// does not make the end an error.
func TestServe_silentConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- intake.Serve(ctx, l, http.NotFoundHandler(), 50*time.Millisecond, nil) }()
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	resp, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("does not end")
	}
}
