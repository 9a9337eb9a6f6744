package money

import "fmt"

// Currency is an ISO 4217 code in capitals, such as CNY.
type Currency string

// ParseCurrency reads a currency: three capital letters, or ErrCurrency.
func ParseCurrency(s string) (Currency, error) {
	if c := Currency(s); c.Valid() {
		return c, nil
	}
	return "", fmt.Errorf("currency %q is not three capital letters: %w", s, ErrCurrency)
}

// Valid reports whether c is three capital letters. It does not say that there
// is such a currency.
func (c Currency) Valid() bool {
	return len(c) == 3 && capital(c[0]) && capital(c[1]) && capital(c[2])
}

func capital(b byte) bool { return 'A' <= b && b <= 'Z' }

// UnmarshalText reads a currency; see ParseCurrency.
func (c *Currency) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCurrency(string(text))
	return err
}

// MinorDigits is the number of decimals of the smallest unit that is paid: 2
// for CNY, 0 for JPY. Source: ISO 4217, list one, column "Minor unit"; codes
// that are not special there have 2.
func (c Currency) MinorDigits() int {
	switch c {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF",
		"UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	}
	return 2
}

// minor is the smallest unit that is paid, in micros.
func (c Currency) minor() uint64 { return pow10[microDigits-c.MinorDigits()] }
