package core

import (
	"context"
	"errors"
)

// once runs do unless the request's key was used before; then it loads what
// that run made. The claim commits with the effect, so a repeat after a lost
// answer finds it. do returns the id of what it made.
func once[T any](ctx context.Context, s *Service, r Request, load func(context.Context, ReadTx, string) (T, error), do func(context.Context, Tx) (T, string, error)) (T, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (T, error) {
		var none T
		if r.Key == "" {
			thing, _, err := do(ctx, tx)
			return thing, err
		}
		// What is made has no id before do ran, so the claim cannot hold it: a
		// setting does.
		claim, fresh, err := tx.Claim(ctx, scopeRequest+r.Actor.Name, r.Key, Claim{Digest: r.Digest, At: s.Now()})
		switch {
		case err != nil:
			return none, err
		case fresh:
			thing, id, err := do(ctx, tx)
			if err != nil {
				return none, err
			}
			return thing, tx.PutSetting(ctx, requestSetting(r), id)
		case claim.Digest != r.Digest:
			return none, &Fault{Err: ErrKeyReused, Code: "idempotency_key_reused", Detail: "this idempotency key was used for another request"}
		}
		id, err := tx.Setting(ctx, requestSetting(r))
		if err != nil {
			return none, err
		}
		return load(ctx, tx, id)
	})
}

func requestSetting(r Request) string { return "request/" + r.Actor.Name + "/" + r.Key }

// orNotFound turns the store's bare ErrNotFound into a fault that names what
// was looked for.
func orNotFound[T any](v T, err error, what, id string) (T, error) {
	var f *Fault
	if errors.Is(err, ErrNotFound) && !errors.As(err, &f) {
		return v, NotFound(what, id)
	}
	return v, err
}
