// Command cloudsettle is the billing center of a company that sells through
// cloud marketplaces: server, simulators and command line in one binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"cloudsettle/core"
)

// Exit codes. Scripts rely on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnavailable = 3
)

// commands is the command line.
type commands struct {
	Config string `help:"Configuration file." type:"existingfile" env:"CLOUDSETTLE_CONFIG" placeholder:"FILE"`

	clientCommands

	Serve    serveCmd    `cmd:"" help:"Run the server: callbacks, API, console."`
	Simulate simulateCmd `cmd:"" help:"Run the marketplaces' simulators alone."`
	Trigger  triggerCmd  `cmd:"" help:"Send a signed callback as a marketplace would."`
	DB       dbCmd       `cmd:"" name:"db" help:"Look after the store."`
	Conf     confCmd     `cmd:"" name:"config" help:"Check or print the configuration."`
	Doctor   doctorCmd   `cmd:"" help:"Check whether this machine and configuration can serve."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

// gcPercent is how much garbage may gather, in percent of what lives. Little
// lives, as the store is a mapped file: at Go's default of 100 a settlement
// spends a quarter of its time on collecting.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main with everything given, so that tests can call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c,
		kong.Name("cloudsettle"),
		kong.Description("The billing center for companies that sell SaaS through cloud marketplaces."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return fail(stderr, err)
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit
	}
	if err != nil {
		return fail(stderr, usage{err})
	}
	s := &streams{out: stdout, err: stderr, config: c.Config}
	s.offline = &offline{streams: s, next: http.DefaultTransport}
	return fail(stderr, errors.Join(k.Run(s, c.client(s)), s.offline.Close()))
}

// streams is what every command may write to, and the global flags.
type streams struct {
	out, err io.Writer
	config   string
	offline  *offline
}

// load reads the configuration that commands other than serve go by: the
// demo's own, if nobody made another one.
func (s *streams) load() (Config, error) { return loadConfig(s.config, devBase(s.config)) }

// usage is an error in the command line.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

// fail reports err, if any, and returns the exit code for it.
func fail(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(w, "cloudsettle:", err)
	if errors.As(err, &usage{}) {
		_, _ = fmt.Fprintln(w, "cloudsettle --help says what there is.")
		return exitUsage
	}
	if core.IsRetryable(err) && !errors.Is(err, context.Canceled) {
		return exitUnavailable
	}
	return exitFailed
}
