// Package store opens the store that a configuration names.
package store

import (
	"context"
	"fmt"
	"strings"

	"cloudsettle/core"
	"cloudsettle/store/bolt"
	"cloudsettle/store/postgres"
)

// Open opens the store at url, such as "bolt:data/cloudsettle.db" or
// "postgres://cloudsettle@db.example.com/cloudsettle", and creates what is
// missing. Errors: ErrInvalid for a url that names no store, ErrUnavailable for
// one that is in use or does not answer, ErrSchema for one that a newer version
// of the program wrote.
func Open(ctx context.Context, url string) (core.Store, error) {
	scheme, rest, ok := strings.Cut(url, ":")
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("open the store: %w", ctx.Err())
	case ok && scheme == "bolt" && rest != "":
		return opened(bolt.Open(rest))
	case ok && (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		return opened(postgres.Open(ctx, url))
	default:
		return nil, core.Invalid("invalid_store",
			"the store must be given as bolt:PATH or postgres://…, not as %q", withoutUser(scheme, ok))
	}
}

// Shared reports whether several processes may serve a store at once. A file
// has one.
func Shared(st core.Store) bool {
	_, file := st.(*bolt.Store)
	return !file
}

// opened keeps a nil pointer from becoming a core.Store that is not nil.
func opened[S core.Store](s S, err error) (core.Store, error) {
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
