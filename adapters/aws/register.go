package aws

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	metering "github.com/aws/aws-sdk-go-v2/service/marketplacemetering"
	"github.com/aws/aws-sdk-go-v2/service/marketplacemetering/types"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// resolveWithin bounds all tries of ResolveCustomer; a person waits for it.
const resolveWithin = 4 * time.Second

// Limits of the form. The token is opaque; the ones seen have some hundred bytes.
const (
	maxToken     = 16 << 10
	maxFormParts = 16
)

// The fields of the form (Seller Guide "saas-product-customer-setup"). Others
// are ignored: the browser sends them, so they prove nothing.
const (
	fieldToken = "x-amzn-marketplace-token" // #nosec G101 -- a name, not a token
	fieldOffer = "x-amzn-marketplace-offer-type"
)

const actionRegister = "ResolveCustomer"

// receiveRegistration takes the form that the buyer's browser brings. Only
// what ResolveCustomer answers is believed.
func (a *Adapter) receiveRegistration(ctx context.Context, cb core.Callback) (marketplace.Event, error) {
	ev := a.event(actionRegister)
	if cb.Method != http.MethodPost {
		return ev, unsupported("registration needs a POST from AWS Marketplace")
	}
	form, err := decodeForm(cb)
	if err != nil {
		return ev, err
	}
	token := form.Get(fieldToken)
	switch {
	case token == "":
		return ev, core.Invalid("missing_token", "the registration token is missing")
	case len(token) > maxToken:
		return ev, core.Invalid("long_token", "the registration token is longer than %d bytes", maxToken)
	}
	out, err := a.resolve(ctx, token)
	if err != nil {
		return ev, err
	}
	return a.registered(ev, out, form.Get(fieldOffer) == "free-trial")
}

// registered says what AWS answered about a token.
func (a *Adapter) registered(
	ev marketplace.Event, out *metering.ResolveCustomerOutput, trial bool,
) (marketplace.Event, error) {
	if got := sdk.ToString(out.ProductCode); got != a.cfg.ProductCode {
		return ev, core.Invalid("wrong_product",
			"the purchase is of product %q, which is not sold here", clip(got))
	}
	arn, customer := sdk.ToString(out.LicenseArn), sdk.ToString(out.CustomerIdentifier)
	ev.Kind = marketplace.Registered
	ev.Account = accountID(sdk.ToString(out.CustomerAWSAccountId))
	if ev.Account == "" {
		return ev, fmt.Errorf("aws: ResolveCustomer answered without an account number")
	}
	ev.Also = names(customerName(customer))
	if a.cfg.Identity == ByLicense || customer == "" {
		ev.Subject = licenseID(arn)
	}
	if ev.Subject == "" {
		// A legacy listing may not know the license yet; the account is all that
		// a later visit of the same buyer can be recognized by.
		ev.Also = append(ev.Also, "account:"+ev.Account)
	}
	if trial {
		ev.Trial = &trial
	}
	ev.Attributes = attributes(attrLicense, arn, attrCustomer, customer, attrProductCode, a.cfg.ProductCode)
	return ev, nil
}

// resolve asks AWS whose token this is. AWS answers the same again until the
// token expires, so trying again is safe.
func (a *Adapter) resolve(ctx context.Context, token string) (*metering.ResolveCustomerOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	in := metering.ResolveCustomerInput{RegistrationToken: &token}
	out, err := a.cloud.metering.ResolveCustomer(ctx, &in)
	var expired *types.ExpiredTokenException
	var invalid *types.InvalidTokenException
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &expired):
		return nil, expiredToken("expired_token", "the registration token has expired")
	case errors.As(err, &invalid):
		return nil, expiredToken("invalid_token", "AWS does not know this registration token")
	default:
		return nil, unavailable("ResolveCustomer", err)
	}
}

// expiredToken is a token of no use; a fresh one helps in either case.
func expiredToken(code, detail string) error {
	return &core.Fault{Err: core.ErrExpired, Code: code, Detail: detail}
}

// decodeForm reads both encodings of a form. Of a repeated field the first
// value counts. A body that is no form has no fields.
func decodeForm(cb core.Callback) (url.Values, error) {
	kind, params, _ := mime.ParseMediaType(cb.Header.Get("Content-Type"))
	if kind == "multipart/form-data" {
		return decodeMultipart(cb.Body, params["boundary"])
	}
	form, err := url.ParseQuery(string(cb.Body))
	if err != nil {
		return nil, core.Invalid("malformed_form", "the form is not encoded as forms are")
	}
	return form, nil
}

func decodeMultipart(body []byte, boundary string) (url.Values, error) {
	form := url.Values{}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxFormParts {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return form, nil
		}
		if err != nil {
			return nil, core.Invalid("malformed_form", "the form is not encoded as forms are")
		}
		value, err := io.ReadAll(io.LimitReader(part, maxToken+1))
		if err != nil {
			return nil, core.Invalid("malformed_form", "the form ends in the middle of a field")
		}
		form.Add(part.FormName(), string(value))
	}
	return nil, core.Invalid("malformed_form", "the form has more than %d fields", maxFormParts)
}
