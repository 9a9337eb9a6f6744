// Package store opens the store that a configuration names.
package store

import (
	"context"
	"fmt"
	"strings"

	"cloudsettle/core"
	"cloudsettle/store/bolt"
)

// Open opens the store at url, such as "bolt:data/cloudsettle.db", and creates
// it if it is missing. Errors: ErrInvalid for a url that names no store,
// ErrUnavailable for one that is in use, ErrSchema for one that a newer
// version of the program wrote.
func Open(ctx context.Context, url string) (core.Store, error) {
	scheme, rest, ok := strings.Cut(url, ":")
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("open the store: %w", ctx.Err())
	case ok && scheme == "bolt" && rest != "":
		return openBolt(rest)
	default:
		return nil, core.Invalid("invalid_store",
			"the store must be given as bolt:PATH, not as %q", withoutUser(scheme, ok))
	}
}

// openBolt keeps a nil *bolt.Store from becoming a core.Store that is not nil.
func openBolt(path string) (core.Store, error) {
	s, err := bolt.Open(path)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// withoutUser names a url by its scheme only: the rest may hold a password.
func withoutUser(scheme string, ok bool) string {
	if !ok {
		return scheme
	}
	return scheme + ":…"
}
