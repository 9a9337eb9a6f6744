package core

import "context"

// SettleDue is what the background loop does.
func (s *Service) SettleDue(ctx context.Context) error { return s.settleDue(ctx) }
