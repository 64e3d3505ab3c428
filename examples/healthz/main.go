// Healthz is a small server with a health check of the host's TCP connections:
//
//	$ go run ./examples/healthz &
//	listening on 127.0.0.1:8080
//	$ curl -s -w '%{http_code}\n' http://127.0.0.1:8080/healthz
//	{"time":"2026-07-01T03:00:00Z","severity":"ok","findings":[]}
//	200
//
// A service does the same with its own server:
//
//	c, err := sockdiag.Dial(nil)
//	...
//	mux.Handle("/healthz", health.NewChecker(c, health.Options{}))
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

const help = `Usage: healthz [-listen ADDRESS] [-fail SEVERITY] [-age TIME]
               [-netns NAME|PATH|PID]

Serves /healthz: what is wrong with the TCP connections of a network namespace,
as JSON. The status is 200, or 503 from the given severity on; 500 if it could
not look. The host is looked at once in -age, however many ask.

The answer tells addresses of connections, so the server listens on loopback
unless told otherwise.`

func main() { cli.Main("healthz", run) }

func run(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := cli.NewFlags("healthz", help)
	fail := health.Critical
	var (
		listen = flags.String("listen", "127.0.0.1:8080", "listen on this `ADDRESS`")
		age    = flags.Duration("age", 5*time.Second, "give an answer again for this `TIME`")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	flags.TextVar(&fail, "fail", fail, "answer 503 from `SEVERITY` on: info, warning, critical")
	if err := flags.Parse(args, stdout); err != nil {
		return err
	}
	if fail < health.Info || fail > health.Critical {
		return &cli.UsageError{Err: fmt.Errorf("-fail: %v is none of info, warning and critical", fail)}
	}
	if *age <= 0 {
		return &cli.UsageError{Err: fmt.Errorf("-age: %v is not above 0", *age)}
	}
	c, err := cli.Dial(*netns)
	if err != nil {
		return err
	}
	defer c.Close()

	mux := http.NewServeMux()
	mux.Handle("/healthz", health.NewChecker(c, health.Options{Fail: fail, MaxAge: *age}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "listening on %v\n", l.Addr())
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil // Ctrl-C is how it ends
}
