package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cloudsettle/core"
)

// maxConns is how many connections a process takes unless its URL says
// pool_max_conns. More make PostgreSQL slower, not faster, on the machines it
// usually runs on.
const maxConns = 32

// connectTimeout bounds how long a connection takes to be made, so that calls
// end before their marketplaces give up.
const connectTimeout = 5 * time.Second

// sessionParams are set on every connection. Plans look up keys whatever the
// statistics say: a scan of a whole table locks all of it against serializable
// writers, and a generic plan does not change while arrays grow. A scan that is
// left has a price that makes the engine compile the query, for half a second,
// whatever the size of its table: jit is off. A session that lost its client in
// the middle of a transaction ends.
var sessionParams = map[string]string{
	"enable_seqscan":                      "off",
	"jit":                                 "off",
	"plan_cache_mode":                     "force_generic_plan",
	"idle_in_transaction_session_timeout": "10min",
	"application_name":                    "cloudsettle",
}

// Open opens the store in the database at url and brings it to this version's
// schema. Errors: ErrInvalid for a url that is none, ErrUnavailable if the
// database does not answer, ErrSchema if a later version of the program wrote
// it.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, core.Invalid("invalid_store", "the URL of the database cannot be read") // err may hold the password
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = maxConns
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	for name, value := range sessionParams {
		if _, given := config.ConnConfig.RuntimeParams[name]; !given {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	if err := migrate(ctx, config.ConnConfig.Copy()); err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
	if err != nil {
		return nil, fmt.Errorf("postgres: open: %w", err)
	}
	sweeping, stop := context.WithCancel(context.Background())
	s := &Store{
		pool: pool, contended: make(chan struct{}, 1), stop: stop, swept: make(chan struct{}),
	}
	go s.sweep(sweeping)
	return s, nil
}
