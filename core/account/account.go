// Package account holds billing accounts: who pays.
//
// Owns: the identity of a billing account and the rules for it. Does not own:
// its money (core/ledger and core/wallet), sessions and passwords.
package account

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"time"
)

// ID identifies a billing account.
type ID string

// Account is a billing account. UserName is unique and never changes; e-mail
// and phone can be replaced and also sign in.
type Account struct {
	ID       ID     `json:"id"`
	Rev      uint64 `json:"rev"`
	UserName string `json:"user_name"`
	Email    string `json:"email"`
	Phone    string `json:"phone,omitempty"` // E.164
	Currency string `json:"currency"`        // ISO 4217, fixed at registration
	// ArbitrarySettlement lifts the rule that a site's workspaces settle only
	// through the cloud of that site. Set by operators.
	ArbitrarySettlement bool `json:"arbitrary_settlement,omitempty"`
	// Certification names the certified enterprise, or is empty. Workspaces
	// move only between accounts of one enterprise.
	Certification string    `json:"certification,omitempty"`
	CreatedAt     time.Time `json:"created_at"`
}

// The limits of account fields. E-mail: RFC 5321, 4.5.3.1.3, less the angle
// brackets. Phone: E.164.
const (
	maxEmail = 254
	maxPhone = 16
)

var (
	userName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{2,63}$`)
	phone    = regexp.MustCompile(`^\+[1-9][0-9]{5,14}$`)
	currency = regexp.MustCompile(`^[A-Z]{3}$`)
)

// Problem is a field that breaks a rule, in words for the person who sent it.
type Problem struct {
	Field  string
	Detail string
}

// Error makes a Problem an error.
func (p Problem) Error() string { return fmt.Sprintf("%s: %s", p.Field, p.Detail) }

// Validate reports every field that breaks a rule, joined.
func (a Account) Validate() error {
	return errors.Join(
		check(userName.MatchString(a.UserName), "user_name",
			"must be 3 to 64 letters, digits, dots, dashes or underscores and begin with a letter"),
		check(ValidEmail(a.Email), "email", "must be an e-mail address"),
		check(a.Phone == "" || len(a.Phone) <= maxPhone && phone.MatchString(a.Phone), "phone",
			"must be a number in international form, such as +8613800000000"),
		check(currency.MatchString(a.Currency), "currency", "must be an ISO 4217 code such as CNY or USD"),
	)
}

func check(ok bool, field, detail string) error {
	if ok {
		return nil
	}
	return Problem{Field: field, Detail: detail}
}

// ValidEmail reports whether s is a bare e-mail address.
func ValidEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && len(s) <= maxEmail && !strings.ContainsAny(s, "\r\n")
}

// FoldName returns the form of a user name or e-mail that must be unique:
// "Acme" and "acme" are one name.
func FoldName(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
