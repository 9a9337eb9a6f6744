package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"cloudsettle/core"
)

// failure is why a transaction cannot go on, and what may be done about it.
type failure struct {
	kind kind
	err  error
}

// kind says what may be done about a failure.
type kind int

const (
	final     kind = iota // nothing: the error is the answer
	contended             // run again: others were in the way
	refused               // run again, in case what was read is outdated; then the answer
	lost                  // run again on another connection
	unknown               // find out whether it was committed
	homeless              // make the partition that misses, and run again
)

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap makes errors.Is find the class of the failure.
func (f *failure) Unwrap() error { return f.err }

// public is the error that a caller gets when nothing more is done about f.
func (f *failure) public(ctx context.Context) error {
	switch {
	case f.kind == contended:
		return fmt.Errorf("%w: %w", core.Conflict("contended", "others changed the same at the same time"), f.err)
	case ctx.Err() != nil && !errors.Is(f.err, context.Cause(ctx)):
		return fmt.Errorf("%w: %w", errContext(ctx), f.err)
	}
	return f.err
}

// classify tells what an error of a statement means. why explains a row that
// was not as expected.
func classify(ctx context.Context, err error, closed bool, why func() error) *failure {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		switch {
		case ctx.Err() != nil:
			return &failure{final, errContext(ctx)}
		case closed:
			return &failure{lost, fmt.Errorf("postgres: the connection broke: %w: %w", core.ErrUnavailable, err)}
		}
		return &failure{final, fmt.Errorf("postgres: %w", err)}
	}
	switch k := kinds[pg.Code]; {
	case k == contended:
		return &failure{contended, fmt.Errorf("postgres: %w", err)}
	case k == refused && why != nil:
		return &failure{refused, why()}
	case k == homeless && strings.Contains(pg.Message, "no partition"):
		return &failure{homeless, fmt.Errorf("postgres: %w", err)}
	case k == lost, outages[pg.Code[:2]], closed:
		return &failure{lost, fmt.Errorf("postgres: %w: %w", core.ErrUnavailable, err)}
	}
	if class := classes[pg.Code]; class != nil {
		return &failure{final, &core.Fault{Err: class, Code: "invalid_value", Detail: pg.Message}}
	}
	return &failure{final, fmt.Errorf("postgres: %w", err)}
}

// kinds are the failures that the engine tells by a code of its own; see
// "PostgreSQL Error Codes" in its documentation.
var kinds = map[string]kind{
	"40001": contended, // could not serialize
	"40P01": contended, // deadlock
	"40003": lost,      // the statement's completion is unknown
	"23505": refused,   // unique violation
	"22012": refused,   // division by zero: see statement.refused
	"23514": homeless,  // check violation
	"25006": lost,      // a standby that took over is still read-only
	"55P03": lost,      // a lock was not to be had in time
	"57014": lost,      // canceled, by an operator or a timeout of the server's
}

// outages are the classes of codes that say that the server cannot work now:
// connection, resources, operator intervention, system error.
var outages = map[string]bool{"08": true, "53": true, "57": true, "58": true}

// classes are what is wrong with values that no column takes.
var classes = map[string]error{
	"22021": core.ErrInvalid,  // not a character, such as NUL
	"22P05": core.ErrInvalid,  // likewise, inside JSON
	"22008": core.ErrInvalid,  // a time out of range
	"54000": core.ErrTooLarge, // more than an index takes
}
