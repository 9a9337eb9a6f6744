package core

import (
	"context"

	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// Preview is what a settlement run would make.
type Preview struct {
	Daily   []settlement.DailyBill // not deducted: that is decided when they are made
	Monthly []BillView
	Waiting int
}

// PreviewRun returns what StartRun would make, and makes nothing.
func (s *Service) PreviewRun(ctx context.Context, kind, period string, early bool) (Preview, error) {
	var out Preview
	if err := s.checkPeriod(kind, period, early); err != nil {
		return out, err
	}
	if kind == RunMonthly {
		m, err := usage.ParseMonth(period)
		if err != nil {
			return out, err
		}
		out.Monthly, err = s.previewMonth(ctx, m)
		return out, err
	}
	day, err := usage.ParseDay(period)
	if err != nil {
		return out, err
	}
	out.Daily, _, out.Waiting, err = s.SettleDay(ctx, day, SettleOptions{Early: early && s.Dev, DryRun: true})
	return out, err
}

// previewMonth returns the monthly bills that are not made yet.
func (s *Service) previewMonth(ctx context.Context, m usage.Month) ([]BillView, error) {
	var out []BillView
	err := s.prepareMonth(ctx, m, func(bills []settlement.MonthlyBill) error {
		views, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]BillView, error) {
			books := statements{Service: s, tx: tx}
			return books.stand(ctx, bills)
		})
		out = append(out, views...)
		return err
	})
	return out, err
}
