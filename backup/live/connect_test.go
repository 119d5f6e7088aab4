package live

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
)

// A link whose token counts no longer is closed with the last call on it, and not before.
func TestFormerLinksAreClosed(t *testing.T) {
	dial := func(context.Context) (*grpc.ClientConn, error) {
		return grpc.NewClient("passthrough:nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	conn, err := dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := &link{conn: conn}
	c := &connection{dial: dial, now: first}
	defer c.close()
	stream, refused := c.begin(), c.begin()
	for range 2 { // the second one finds it done
		if err := c.again(t.Context(), refused); err != nil {
			t.Fatal(err)
		}
	}
	if c.end(refused); len(c.former) != 1 || conn.GetState() == connectivity.Shutdown {
		t.Errorf("%d former ones, the first is %v with a stream on it", len(c.former), conn.GetState())
	}
	if c.end(stream); len(c.former) != 0 || conn.GetState() != connectivity.Shutdown {
		t.Errorf("%d former ones, the first is %v with nothing on it", len(c.former), conn.GetState())
	}
	if l := c.begin(); l == first || l.conn.GetState() == connectivity.Shutdown {
		t.Error("what is to be used is not a new one")
	}
}
