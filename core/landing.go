package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// How long links to a landing page hold. A link that a purchase or a sign-in
// led to is used at once. One that a marketplace shows in its console holds for
// ever: a repeated callback then gets the same answer to the byte, and once the
// cloud account is claimed the link leads no further than to signing in.
const (
	linkVisit = 4 * time.Hour
	linkStay  = 30 * time.Minute // after signing in on the page
	linkMAC   = 16               // bytes; 128 bits cannot be guessed
)

// Link is what a landing path proves: that its bearer came from the
// marketplace for this subscription and, if Account is set, signed in.
type Link struct {
	Subscription marketplace.SubscriptionID
	Account      account.ID
	Expires      time.Time // zero: never
}

// linkSigner makes and checks landing paths. They are signed, not stored: a
// flood of visits writes nothing.
type linkSigner struct{ key []byte }

func (l linkSigner) sign(k Link) string {
	text := fmt.Appendf(nil, "%s\x00%s", k.Subscription, k.Account)
	var expires uint64
	if !k.Expires.IsZero() {
		expires = uint64(k.Expires.Unix()) // #nosec -- times after 1970
	}
	body := binary.BigEndian.AppendUint64(nil, expires)
	body = append(body, text...)
	return base64.RawURLEncoding.EncodeToString(append(l.mac(body), body...))
}

func (l linkSigner) mac(body []byte) []byte {
	m := hmac.New(sha256.New, l.key)
	m.Write([]byte("landing\x00"))
	m.Write(body)
	return m.Sum(nil)[:linkMAC]
}

func (l linkSigner) open(opaque string, now time.Time) (Link, error) {
	raw, err := base64.RawURLEncoding.DecodeString(opaque)
	if err != nil || len(raw) < linkMAC+8 {
		return Link{}, ErrUnverified
	}
	body := raw[linkMAC:]
	if !hmac.Equal(raw[:linkMAC], l.mac(body)) {
		return Link{}, ErrUnverified
	}
	sub, acc, _ := strings.Cut(string(body[8:]), "\x00")
	k := Link{Subscription: marketplace.SubscriptionID(sub), Account: account.ID(acc)}
	if at := binary.BigEndian.Uint64(body); at != 0 {
		k.Expires = time.Unix(int64(at), 0).UTC() // #nosec -- signed by us
		if !now.Before(k.Expires) {
			return k, ErrExpired
		}
	}
	return k, nil
}

// landingPath is where the buyer of a subscription goes next.
func (s *Service) landingPath(id marketplace.SubscriptionID, k marketplace.Kind) string {
	link := Link{Subscription: id}
	if k == marketplace.Registered || k == marketplace.SignIn {
		link.Expires = s.Now().Add(linkVisit)
	}
	return s.LandingPath(link)
}

// LandingPath returns the path that proves k.
func (s *Service) LandingPath(k Link) string { return "/landing/" + s.links.sign(k) }

// StayPath returns the path of the landing page for a buyer who has signed in.
func (s *Service) StayPath(id marketplace.SubscriptionID, acc account.ID) string {
	return s.LandingPath(Link{Subscription: id, Account: acc, Expires: s.Now().Add(linkStay)})
}

// OpenLanding checks a landing path's last element. Errors: ErrUnverified, and
// ErrExpired, with which the link is still told.
func (s *Service) OpenLanding(_ context.Context, opaque string) (Link, error) {
	return s.links.open(opaque, s.Now())
}
