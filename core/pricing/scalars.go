package pricing

import (
	"errors"
	"strconv"
	"strings"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/usage"
)

// setters read the plain values of an object, by their names in files.
type setters map[string]func(text string) error

func (b *Book) setters() setters {
	return setters{
		"name":     asText(&b.Name),
		"zone":     asText(&b.Zone),
		"currency": asText(&b.Currency),
		"scale":    asInt(&b.Scale),
		"effective_from": func(s string) (err error) {
			b.EffectiveFrom, err = usage.ParseDay(s)
			return err
		},
	}
}

func (it *Item) setters() setters {
	return setters{
		"item":             asText(&it.Code),
		"name":             asText(&it.Name),
		"unit":             asDecimal(&it.Unit),
		"aggregation":      asText(&it.Aggregation),
		"mode":             asText(&it.Mode),
		"free_quota":       asDecimal(&it.FreeQuota),
		"exclude_vouchers": asBool(&it.ExcludeVouchers),
	}
}

func (m *Measure) setters() setters {
	return setters{
		"measure": asText(&m.Code),
		"weight":  asDecimal(&m.Weight),
		"group":   asText(&m.Group),
	}
}

func (e *Event) setters() setters {
	return setters{
		"size":  asText(&e.Size),
		"free":  asDecimal(&e.Free),
		"per":   asDecimal(&e.Per),
		"round": asText(&e.Round),
		"min":   asDecimal(&e.Min),
	}
}

func (p *Price) setters() setters {
	return setters{"variant": asText(&p.Variant), "price": asDecimal(&p.Price)}
}

func (t *Tier) setters() setters {
	return setters{"up_to": asDecimal(&t.UpTo), "price": asDecimal(&t.Price)}
}

func asText[T ~string](to *T) func(string) error {
	return func(s string) error {
		*to = T(strings.Clone(s))
		return nil
	}
}

func asDecimal(to *decimal.Decimal) func(string) error {
	return func(s string) (err error) {
		*to, err = money.ParseDecimal(s)
		return err
	}
}

func asInt(to *int) func(string) error {
	return func(s string) (err error) {
		if *to, err = strconv.Atoi(s); err != nil {
			return errors.New("must be a whole number")
		}
		return nil
	}
}

func asBool(to *bool) func(string) error {
	return func(s string) error {
		if s != "true" && s != "false" {
			return errors.New("must be true or false")
		}
		*to = s == "true"
		return nil
	}
}
