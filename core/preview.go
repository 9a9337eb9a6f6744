package core

import (
	"context"
	"errors"

	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// Preview is what a settlement run would make.
type Preview struct {
	Daily   []settlement.DailyBill // not deducted: that is decided when they are made
	Monthly []settlement.MonthlyBill
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
func (s *Service) previewMonth(ctx context.Context, m usage.Month) ([]settlement.MonthlyBill, error) {
	payers, err := s.payers(ctx, m)
	if err != nil {
		return nil, err
	}
	var out []settlement.MonthlyBill
	for k := range payers {
		err := s.Store.View(ctx, func(ctx context.Context, tx ReadTx) error {
			if _, err := tx.MonthlyBill(ctx, k.id, m, k.currency); !errors.Is(err, ErrNotFound) {
				return err
			}
			b, err := consolidate(ctx, tx, k.id, m, k.currency, s.Now())
			if err == nil {
				out = append(out, b)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
