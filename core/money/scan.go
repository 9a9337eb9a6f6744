package money

import "strconv"

// maxText is the longest number that is read: enough for every number there
// is, with zeros to spare, and short enough to be quoted in an error.
const maxText = 64

// number is a decimal as it was written.
type number struct {
	negative bool
	coef     uint64
	decimals int
	wide     bool // coef did not fit
}

// scan reads -?digits(.digits)? or returns ErrSyntax.
func scan(s string) (number, error) {
	if len(s) > maxText {
		return number{}, ErrSyntax
	}
	var n number
	at := 0
	if s != "" && s[0] == '-' {
		n.negative = true
		at++
	}
	whole := n.digits(s, at)
	end := whole
	if whole < len(s) && s[whole] == '.' {
		end = n.digits(s, whole+1)
		n.decimals = end - whole - 1
	}
	if whole == at || end != len(s) || end > whole && n.decimals == 0 {
		return number{}, ErrSyntax
	}
	return n, nil
}

// digits reads the digits of s from at on and returns where they end.
func (n *number) digits(s string, at int) int {
	for ; at < len(s) && '0' <= s[at] && s[at] <= '9'; at++ {
		digit := uint64(s[at] - '0')
		n.wide = n.wide || n.coef > (^uint64(0)-digit)/10
		n.coef = n.coef*10 + digit
	}
	return at
}

// quote shows what was read, cut where it is too long to be a number.
func quote(s string) string {
	if len(s) > maxText {
		return strconv.Quote(s[:maxText]) + "…"
	}
	return strconv.Quote(s)
}
