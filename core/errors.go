package core

import (
	"context"
	"errors"
	"fmt"
)

// The errors that callers test for with errors.Is. Everything else is internal:
// it is logged with the request id and shown to people as "internal error".
var (
	ErrNotFound    = errors.New("not found")
	ErrConflict    = errors.New("changed meanwhile")           // a stale revision or a taken name
	ErrInvalid     = errors.New("invalid")                     // wrapped in *Fault with details
	ErrUnverified  = errors.New("not authentic")               // a signature, token or key that does not hold
	ErrUnsupported = errors.New("unsupported")                 // an action or method we do not know
	ErrTooLarge    = errors.New("too large")                   // more than a limit allows
	ErrExpired     = errors.New("expired")                     // a token or link past its time
	ErrUnavailable = errors.New("unavailable, try again soon") // the store or a provider; safe to repeat
	ErrNotUsable   = errors.New("not usable now")              // a subscription that is frozen or over
	ErrForbidden   = errors.New("forbidden")
	ErrKeyReused   = errors.New("idempotency key was used for another request")
	ErrSchema      = errors.New("the store was written by a newer version")
	ErrNested      = errors.New("a transaction inside a transaction")
)

// Fault is an error in what a caller sent or asked for. Code is stable and
// meant for programs, Detail is for people.
type Fault struct {
	Err    error // one of the errors above
	Code   string
	Detail string
	Fields []FieldFault
}

// FieldFault is one field that is wrong. Field is a name or a JSON pointer.
type FieldFault struct {
	Field  string
	Detail string
}

// Error describes the fault.
func (f *Fault) Error() string {
	if len(f.Fields) > 0 && f.Detail == "" {
		return fmt.Sprintf("%s: %s: %s", f.Code, f.Fields[0].Field, f.Fields[0].Detail)
	}
	return f.Code + ": " + f.Detail
}

// Unwrap makes errors.Is find the class of the fault.
func (f *Fault) Unwrap() error { return f.Err }

// Invalid returns an ErrInvalid fault.
func Invalid(code, format string, args ...any) error {
	return &Fault{Err: ErrInvalid, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// NotFound returns an ErrNotFound fault about a thing and its id.
func NotFound(what, id string) error {
	return &Fault{Err: ErrNotFound, Code: "not_found", Detail: fmt.Sprintf("no %s %q", what, id)}
}

// Conflict returns an ErrConflict fault: the request is well formed, and the
// state of things or a rule forbids it.
func Conflict(code, format string, args ...any) error {
	return &Fault{Err: ErrConflict, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// IsRetryable reports whether the same request may succeed later.
func IsRetryable(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
