package core

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// The limits of sign-in codes: 6 digits, 5 tries a code and 25 wrong ones a day
// leave a guesser 25 in a million a day, also across restarts.
const (
	codeDigits = 6
	codeTries  = 5
	codeValid  = 10 * time.Minute
	codeEvery  = 30 * time.Second // between two mails to one account
	codeWrong  = 25               // wrong tries after which an account waits
	codeRest   = 24 * time.Hour   // for so long, from the first of them
)

// signInCode is what is kept of a code that was mailed.
type signInCode struct {
	Digest string    `json:"digest"`
	SentAt time.Time `json:"sent_at"`
	Tries  int       `json:"tries"`
	// Wrong counts wrong tries of all codes since WrongSince.
	Wrong      int       `json:"wrong,omitempty"`
	WrongSince time.Time `json:"wrong_since,omitzero"`
}

// resting reports whether so many wrong codes were tried that the account
// waits.
func (c *signInCode) resting(now time.Time) bool {
	return c.Wrong >= codeWrong && now.Sub(c.WrongSince) < codeRest
}

// miss counts a wrong try.
func (c *signInCode) miss(now time.Time) {
	if now.Sub(c.WrongSince) >= codeRest {
		c.Wrong, c.WrongSince = 0, now
	}
	c.Wrong++
}

func codeSetting(id account.ID) string { return "code/" + string(id) }

// SendCode mails a sign-in code to the billing account that login names. It
// answers alike whether there is such an account or not.
func (s *Service) SendCode(ctx context.Context, login string) error {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return err
	}
	code := fmt.Sprintf("%0*d", codeDigits, n)
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		a, err := tx.BillingAccountByLogin(ctx, login)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		c, err := loadCode(ctx, tx, a.ID)
		if err == nil && (s.Now().Sub(c.SentAt) < codeEvery || c.resting(s.Now())) {
			return nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		c.Digest, c.SentAt, c.Tries = s.codeDigest(a.ID, code), s.Now(), 0
		if err := saveCode(ctx, tx, a.ID, c); err != nil {
			return err
		}
		return s.promise(ctx, tx, taskMail, Mail{
			To: a.Email, Subject: fmt.Sprintf("[%s] Your sign-in code", s.Brand),
			Text: fmt.Sprintf("Your sign-in code is %s. It is valid for 10 minutes.\nIf you did not ask for it, ignore this mail.\n", code),
		})
	})
}

func (s *Service) codeDigest(id account.ID, code string) string {
	m := hmac.New(sha256.New, s.LinkKey)
	_, _ = fmt.Fprintf(m, "code\x00%s\x00%s", id, code)
	return hex.EncodeToString(m.Sum(nil))
}

func loadCode(ctx context.Context, tx ReadTx, id account.ID) (c signInCode, err error) {
	text, err := tx.Setting(ctx, codeSetting(id))
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal([]byte(text), &c)
}

func saveCode(ctx context.Context, tx Tx, id account.ID, c signInCode) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return tx.PutSetting(ctx, codeSetting(id), string(text))
}

// CheckCode returns the billing account that login names if code was mailed to
// it, is still valid and was not used. Every try counts, also across restarts.
func (s *Service) CheckCode(ctx context.Context, login, code string) (account.ID, error) {
	id, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (account.ID, error) {
		a, err := tx.BillingAccountByLogin(ctx, login)
		if err != nil {
			return "", noMatch(err)
		}
		c, err := loadCode(ctx, tx, a.ID)
		if err != nil {
			return "", noMatch(err)
		}
		if c.Tries >= codeTries || s.Now().Sub(c.SentAt) > codeValid || c.resting(s.Now()) {
			return "", nil
		}
		good := hmac.Equal([]byte(c.Digest), []byte(s.codeDigest(a.ID, strings.TrimSpace(code))))
		c.Tries++
		if good {
			c.Tries = codeTries // used
		} else {
			c.miss(s.Now())
		}
		if err := saveCode(ctx, tx, a.ID, c); err != nil || !good {
			return "", err
		}
		return a.ID, nil
	})
	if err == nil && id == "" {
		err = &Fault{Err: ErrUnverified, Code: "wrong_code", Detail: "this code is wrong, used or too old"}
	}
	return id, err
}

// noMatch makes an unknown account look like a wrong code.
func noMatch(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// LandingPage is what the page after a purchase shows.
type LandingPage struct {
	Subscription marketplace.Subscription
	CloudAccount CloudAccountView
	Listing      Listing
	// Owner claimed the cloud account, Account signed in on the page.
	Owner, Account *account.Account
	// Bound are the workspaces that the subscription settles; Bindable are the
	// signed-in account's others, as far as their number can be shown.
	Bound, Bindable []WorkspaceView
	Sites           []workspace.Site // where a new workspace may live
}

// Landing returns what the bearer of k may see.
func (s *Service) Landing(ctx context.Context, k Link) (LandingPage, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (LandingPage, error) {
		sub, err := tx.Subscription(ctx, k.Subscription)
		if sub, err = orNotFound(sub, err, "subscription", string(k.Subscription)); err != nil {
			return LandingPage{}, err
		}
		p := LandingPage{Subscription: sub, Listing: s.markets[sub.Listing].Listing}
		if p.CloudAccount, err = viewCloudAccount(ctx, tx, Actor{}, sub.Account); err != nil {
			return p, err
		}
		if p.Owner, err = accountOrNone(ctx, tx, account.ID(p.CloudAccount.BillingAccount)); err != nil {
			return p, err
		}
		if p.Account, err = accountOrNone(ctx, tx, k.Account); err != nil || p.Account == nil {
			return p, err
		}
		p.Sites = s.sitesFor(sub.Provider, p.Account.ArbitrarySettlement)
		return p, landingWorkspaces(ctx, tx, &p)
	})
}

func accountOrNone(ctx context.Context, tx ReadTx, id account.ID) (*account.Account, error) {
	if id == "" {
		return nil, nil
	}
	a, err := loadBillingAccount(ctx, tx, string(id))
	return &a, err
}

// sitesFor lists the sites whose workspaces may settle through a cloud.
func (s *Service) sitesFor(p marketplace.Provider, any bool) []workspace.Site {
	var out []workspace.Site
	for _, site := range s.Sites {
		if any || site.Cloud == "" || site.Cloud == p {
			out = append(out, site)
		}
	}
	return out
}

func landingWorkspaces(ctx context.Context, tx ReadTx, p *LandingPage) error {
	workspaces, err := listed(tx.WorkspacesOf(ctx, p.Account.ID, more(Page{Limit: MaxPage})), Page{Limit: MaxPage},
		func(w workspace.Workspace) string { return string(w.ID) })
	if err != nil {
		return err
	}
	for _, w := range workspaces.Items {
		v, err := viewWorkspace(ctx, tx, w)
		if err != nil {
			return err
		}
		fits := slices.ContainsFunc(p.Sites, func(s workspace.Site) bool { return s.Code == w.Site })
		switch {
		case v.Current.Settlement.Subscription == p.Subscription.ID:
			p.Bound = append(p.Bound, v)
		case fits && v.Current.Settlement.Method == workspace.ByBillingAccount:
			p.Bindable = append(p.Bindable, v)
		}
	}
	return nil
}

// Choice is what a buyer chose on the landing page: an existing workspace, or
// a new one.
type Choice struct {
	Workspace  workspace.ID
	Name, Site string
	// Key makes a repeat of a choice of a new workspace find the one that was
	// made, as a form that is sent twice must; "" makes another.
	Key string
}

// BindBuyer claims the cloud account of k for the signed-in account and binds
// the chosen workspace to its subscription. A repeat changes nothing.
func (s *Service) BindBuyer(ctx context.Context, k Link, c Choice) (workspace.ID, error) {
	fresh := workspace.Workspace{
		ID: workspace.ID(s.NewID("ws")), Name: strings.TrimSpace(c.Name), Site: c.Site, CreatedAt: s.Now(),
	}
	binding := workspace.BindingID(s.NewID("bnd"))
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (workspace.ID, error) {
		sub, err := tx.Subscription(ctx, k.Subscription)
		if err != nil {
			return "", err
		}
		if err := s.claim(ctx, tx, sub.Account, k.Account); err != nil {
			return "", err
		}
		id := c.Workspace
		if id == "" {
			if id, err = s.openOnce(ctx, tx, fresh, sub, k.Account, c.Key); err != nil {
				return "", err
			}
		}
		_, err = s.bind(ctx, tx, Actor{Name: "buyer:" + string(k.Account)}, binding, Want{
			Workspace: id, BillingAccount: k.Account,
			Settlement: workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: sub.ID},
		})
		var f *Fault
		if errors.As(err, &f) && f.Code == "already_bound" {
			err = nil
		}
		return id, err
	})
}

// openOnce opens the workspace w, or finds the one that was opened under key.
func (s *Service) openOnce(ctx context.Context, tx Tx, w workspace.Workspace, sub marketplace.Subscription, owner account.ID, key string) (workspace.ID, error) {
	if key != "" {
		prior, fresh, err := tx.Claim(ctx, scopeRequest+"buyer:"+string(owner), key, Claim{Result: string(w.ID), At: w.CreatedAt})
		if err != nil || !fresh {
			return workspace.ID(prior.Result), err
		}
	}
	return w.ID, s.openWorkspace(ctx, tx, w, sub.Provider, owner)
}

// openWorkspace adds a workspace that a purchase on a marketplace opens.
func (s *Service) openWorkspace(ctx context.Context, tx Tx, w workspace.Workspace, p marketplace.Provider, owner account.ID) error {
	a, err := loadBillingAccount(ctx, tx, string(owner))
	if err != nil {
		return err
	}
	w.OwnerEmail, w.OpenedBy = a.Email, p
	if err := s.checkWorkspace(w); err != nil {
		return err
	}
	return tx.PutWorkspace(ctx, w)
}
