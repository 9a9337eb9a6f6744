package aws

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/marketplacemetering/types"

	"cloudsettle/core/metering"
)

// The bounds of a usage record (API Reference "UsageRecord"). The SDK checks
// none of them, and AWS refuses a whole call for one record beyond them.
const (
	maxUnits     = math.MaxInt32
	maxDimension = 255
	maxAccount   = 255
	maxARN       = 1023
)

// licenseARN is the pattern of a LicenseArn in the API Reference, lengths apart.
var licenseARN = regexp.MustCompile(
	`^arn:aws[a-zA-Z-]*:[A-Za-z0-9][A-Za-z0-9_/.-]*:[A-Za-z0-9_/.-]*:[A-Za-z0-9_/.-]*:` +
		`[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]*$`)

// usage is a record as AWS is told of it.
type usage struct {
	record metering.RecordID
	key    usageKey
	wire   types.UsageRecord
}

// usageKey is what AWS knows a record by, and what its answer is matched by:
// the order of results is not documented.
type usageKey struct {
	license, customer, dimension string
	hour                         int64
}

// keyOf returns the key of a record of ours, or of one in an answer.
func keyOf(w *types.UsageRecord) usageKey {
	return usageKey{
		license:   sdk.ToString(w.LicenseArn),
		customer:  cmp.Or(sdk.ToString(w.CustomerIdentifier), sdk.ToString(w.CustomerAWSAccountId)),
		dimension: sdk.ToString(w.Dimension),
		hour:      sdk.ToTime(w.Timestamp).Unix(),
	}
}

// usageOf returns what AWS is told of r: a function of what was sealed alone,
// so that every attempt has the same bytes.
func (m *meter) usageOf(r *metering.Record) (usage, error) {
	if err := m.checkRecord(r); err != nil {
		return usage{}, err
	}
	w := types.UsageRecord{
		Dimension: sdk.String(r.Dimension), Quantity: sdk.Int32(int32(r.Units)), // #nosec -- checked
		Timestamp: sdk.Time(r.PeriodStart.UTC()),
	}
	if err := m.identify(&w, r); err != nil {
		return usage{}, err
	}
	return usage{record: r.ID, key: keyOf(&w), wire: w}, nil
}

func (m *meter) checkRecord(r *metering.Record) error {
	product := r.Attributes[attrProductCode]
	return errors.Join(
		check(r.Listing == m.listing, "it is of another listing, %s", clip(string(r.Listing))),
		check(product == "" || product == m.product, "it is of another product, %s", clip(product)),
		check(r.Dimension != "" && len(r.Dimension) <= maxDimension,
			"a dimension has 1 to %d bytes", maxDimension),
		check(r.Units >= 0 && r.Units <= maxUnits, "%d units are not within 0 to %d", r.Units, maxUnits),
		check(r.PeriodStart.Equal(r.PeriodStart.Truncate(time.Hour)),
			"its period does not begin with an hour of UTC"),
	)
}

// identify says whose usage it is. A listing keeps to one way: usage that was
// sent in both ways for the same hour is billed twice (Seller Guide
// "metering-for-usage"). With a license there must be no product code.
func (m *meter) identify(w *types.UsageRecord, r *metering.Record) error {
	if m.identity == ByCustomer {
		return identifyCustomer(w, r)
	}
	arn := cmp.Or(r.Attributes[attrLicense], spellARN(r.Attributes[attrLicenseAsSent]))
	switch {
	case arn == "":
		return errors.New("its license is not known")
	case len(arn) > maxARN || !licenseARN.MatchString(arn):
		return fmt.Errorf("%s is not the ARN of a license", clip(arn))
	case licenseID(arn) != r.Subject:
		return fmt.Errorf("its license is not the one of its subscription, %s", clip(r.Subject))
	case accountID(r.Account) == "" || len(r.Account) > maxAccount:
		return errors.New("the buyer's account number is not known")
	}
	w.LicenseArn, w.CustomerAWSAccountId = &arn, sdk.String(r.Account)
	return nil
}

// identifyCustomer names the buyer of a listing from before licenses: by the
// handle that SNS tells of them, or else by the account; both are refused.
func identifyCustomer(w *types.UsageRecord, r *metering.Record) error {
	customer := r.Attributes[attrCustomer]
	switch {
	case customer != "" && len(customer) <= maxAccount:
		w.CustomerIdentifier = &customer
	case customer == "" && accountID(r.Account) != "" && len(r.Account) <= maxAccount:
		w.CustomerAWSAccountId = sdk.String(r.Account)
	default:
		return errors.New("the buyer is not known")
	}
	return nil
}
