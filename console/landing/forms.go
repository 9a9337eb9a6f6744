package landing

import (
	"net/url"
	"strings"

	"cloudsettle/core"
)

// form is one form of a page. All fields are described as data, so that one
// template labels every one of them alike.
type form struct {
	ID, Action  string
	Title, Lead string
	Button      string
	Hidden      []hidden
	Fields      []field
	Quiet       bool // not the main thing to do
}

type hidden struct{ Name, Value string }

// field is a labelled input; Kind is "" for a text, "select" or "radio".
type field struct {
	Kind                   string
	ID, Name, Label, Hint  string
	Value, Error           string
	Type, Complete, Keys   string // of an input: type, autocomplete, inputmode
	MaxLength              int
	Required, Plain, Focus bool // Plain: a code or id, not words
	Options                []option
}

type option struct{ Value, Text, Note string }

// Described names what describes the field to a screen reader.
func (f field) Described() string {
	var ids []string
	if f.Hint != "" {
		ids = append(ids, f.ID+"-hint")
	}
	if f.Error != "" {
		ids = append(ids, f.ID+"-error")
	}
	return strings.Join(ids, " ")
}

// The longest values that fields take; core has the rules.
const (
	maxLogin  = 254 // an e-mail address
	maxName   = 64
	maxPhone  = 24 // with spaces between groups
	maxCode   = 12
	maxWSID   = 64
	maxChoice = 64
)

// input is what a form held when it was sent, and what is wrong with it. The
// zero value is a form that is still empty.
type input struct {
	values url.Values
	faults map[string]string
}

func (in input) get(name string) string { return strings.TrimSpace(in.values.Get(name)) }

// fault blames a field.
func (in *input) fault(name, text string) {
	if in.faults == nil {
		in.faults = map[string]string{}
	}
	in.faults[name] = text
}

// fill puts what was sent into fields, and looks at the first that is wrong.
func (in input) fill(fields []field) []field {
	seen := false
	for i := range fields {
		f := &fields[i]
		f.Value, f.Error = in.get(f.Name), in.faults[f.Name]
		if f.Error != "" {
			f.Focus, seen = !seen, true
		}
	}
	return fields
}

func (v *visit) signInForm(in input) form {
	return form{
		ID: "signin", Action: v.path + "/code", Title: "I have a billing account", Button: "Mail me a code",
		Lead: "We mail you a code to sign in with. There is no password to remember.",
		Fields: in.fill([]field{{
			ID: "signin-login", Name: "login", Label: "User name, e-mail or phone", Complete: "username",
			MaxLength: maxLogin, Required: true, Plain: true,
		}}),
	}
}

// onlySignIn is the sign-in form where there is nothing to choose.
func (v *visit) onlySignIn(in input) form {
	f := v.signInForm(in)
	f.Title = ""
	return f
}

func (v *visit) registerForm(in input) form {
	return form{
		ID: "register", Action: v.path + "/register", Title: "I am new here", Button: "Create billing account",
		Lead: "It pays for all your workspaces. Its currency is " + v.page.Listing.Currency +
			", as on the marketplace.",
		Hidden: []hidden{{"key", v.svc.NewID(formKey)}},
		Fields: in.fill([]field{
			{ID: "register-user_name", Name: "user_name", Label: "User name", Complete: "username",
				MaxLength: maxName, Required: true, Plain: true,
				Hint: "3 to 64 letters, digits, dots, dashes or underscores, a letter first. " +
					"It cannot be changed later."},
			{ID: "register-email", Name: "email", Label: "E-mail", Type: "email", Complete: "email", Keys: "email",
				MaxLength: maxLogin, Required: true, Plain: true, Hint: "We mail a code to it now, and bills later."},
			{ID: "register-phone", Name: "phone", Label: "Phone (optional)", Type: "tel", Complete: "tel", Keys: "tel",
				MaxLength: maxPhone, Hint: "With the country code, such as +86 138 0000 0000."},
		}),
	}
}

func (v *visit) codeForms(login string, in input) []form {
	code := field{
		ID: "code-code", Name: "code", Label: "Code from the mail", Complete: "one-time-code", Keys: "numeric",
		MaxLength: maxCode, Required: true, Plain: true, Hint: "Six digits, valid for 10 minutes.",
	}
	fields := in.fill([]field{code})
	fields[0].Value, fields[0].Focus = "", true // a wrong code is of no more use
	return []form{
		{ID: "code", Action: v.path + "/signin", Button: "Sign in", Hidden: []hidden{{"login", login}}, Fields: fields},
		{ID: "again", Action: v.path + "/code", Button: "Mail a new code", Quiet: true,
			Lead:   "Nothing arrived? Look into your spam folder, wait half a minute, and ask for a new code.",
			Hidden: []hidden{{"login", login}}},
	}
}

// workspaceForms are the three ways to choose a workspace, as far as they are open.
func (v *visit) workspaceForms(of func(string) input) []form {
	var forms []form
	if len(v.page.Bindable) > 0 {
		forms = append(forms, v.ownForm(of(chosenOwn)))
	}
	if len(v.page.Sites) > 0 {
		forms = append(forms, v.newForm(of(chosenNew)))
	}
	return append(forms, v.idForm(of(chosenID)))
}

// The ways to choose a workspace, as the field "way" names them.
const (
	chosenOwn = "own"
	chosenNew = "new"
	chosenID  = "id"
)

func (v *visit) ownForm(in input) form {
	radio := field{
		Kind: "radio", ID: "own-workspace", Name: "workspace", Required: true,
		Label: "Workspaces that your billing account pays for",
	}
	for _, w := range v.page.Bindable {
		radio.Options = append(radio.Options, option{
			Value: string(w.ID), Text: w.Name, Note: v.siteName(w.Site) + " · " + string(w.ID),
		})
	}
	return form{
		ID: chosenOwn, Action: v.path + "/bind", Title: "One of mine", Button: "Bind this workspace",
		Hidden: []hidden{{"way", chosenOwn}}, Fields: in.fill([]field{radio}),
	}
}

func (v *visit) idForm(in input) form {
	return form{
		ID: chosenID, Action: v.path + "/bind", Title: "By its ID", Button: "Bind this workspace",
		Lead:   "For a workspace that no billing account pays for yet. Its settings show the ID.",
		Hidden: []hidden{{"way", chosenID}},
		Fields: in.fill([]field{{
			ID: "id-workspace", Name: "workspace", Label: "Workspace ID", MaxLength: maxWSID,
			Required: true, Plain: true,
		}}),
	}
}

func (v *visit) newForm(in input) form {
	site := field{
		Kind: "select", ID: "new-site", Name: "site", Label: "Site", Required: true,
		Hint: "Where its data is kept. It cannot be changed later.",
	}
	for _, s := range v.page.Sites {
		site.Options = append(site.Options, option{Value: s.Code, Text: v.siteName(s.Code)})
	}
	return form{
		ID: chosenNew, Action: v.path + "/bind", Title: "A new one", Button: "Create and bind",
		Hidden: []hidden{{"way", chosenNew}, {"key", v.svc.NewID(formKey)}},
		Fields: in.fill([]field{
			{ID: "new-name", Name: "name", Label: "Workspace name", Complete: "off", MaxLength: maxName, Required: true},
			site,
		}),
	}
}

// blame turns an error of core into faults of fields. It reports false if no
// field is to blame.
func (in *input) blame(f *core.Fault, byCode map[string]string) bool {
	for _, wrong := range f.Fields {
		in.fault(wrong.Field, sentence(wrong.Detail))
	}
	if name, ok := byCode[f.Code]; ok {
		in.fault(name, blameText(f))
	}
	return len(in.faults) > 0
}

// The codes of faults whose details are meant for programs.
const (
	codeNotFound  = "not_found"
	codeKeyReused = "idempotency_key_reused"
)

// blameText says in words for a buyer what f says.
func blameText(f *core.Fault) string {
	switch {
	case f.Code == codeNotFound:
		return "There is no workspace with this ID."
	case f.Code == codeKeyReused:
		return "This form was sent before with other values. Look into your mail for a code, or sign in instead."
	case strings.HasSuffix(f.Code, "_taken"):
		return sentence(f.Detail) + " If it is yours, sign in instead."
	}
	return sentence(f.Detail)
}

// sentence makes the detail of a fault a sentence.
func sentence(s string) string {
	if s == "" {
		return "This is not possible."
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}
