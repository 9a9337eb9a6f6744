package core

import (
	"context"
	"time"
)

// CutAt makes a day of more than n workspaces a large one, which is shared.
func (s *Service) CutAt(n int) *Service {
	s.Shared, s.rangeOf = true, n
	return s
}

// Solely runs do as the one replica with a duty.
func (s *Service) Solely(ctx context.Context, name string, again time.Duration, do func(context.Context) error) error {
	return s.solely(ctx, duty{name: name, again: again}, do)
}
