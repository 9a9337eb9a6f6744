package aws

import (
	"context"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	entitlement "github.com/aws/aws-sdk-go-v2/service/marketplaceentitlementservice"
	metering "github.com/aws/aws-sdk-go-v2/service/marketplacemetering"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// How AWS is called. A buyer waits for the answer, so three tries with at most
// a second between them fit into resolveWithin.
const (
	callAttempts = 3
	callBackoff  = time.Second
	callWithin   = 25 * time.Second // one HTTP exchange; a long poll takes 20 s
)

// cloud holds the clients of AWS, made once.
type cloud struct {
	metering    *metering.Client
	entitlement *entitlement.Client
	sqs         *sqs.Client
}

func newCloud(ctx context.Context, c Config) (cloud, error) {
	opts := []func(*config.LoadOptions) error{
		config.WithRegion(c.Region),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(callWithin)), // it heeds AWS_CA_BUNDLE
		config.WithRetryer(newRetryer),
	}
	if c.AccessKeyID != "" {
		opts = append(opts, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, "")))
	}
	base, err := config.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return cloud{}, fmt.Errorf("credentials: %w", err)
	}
	if c.Endpoint != "" {
		base.BaseEndpoint = sdk.String(strings.TrimRight(c.Endpoint, "/"))
	}
	return cloud{
		metering: metering.NewFromConfig(base),
		entitlement: entitlement.NewFromConfig(base, func(o *entitlement.Options) {
			o.Region = entitlementRegion(c.Region)
		}),
		sqs: sqs.NewFromConfig(base),
	}, nil
}

func newRetryer() sdk.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = callAttempts, callBackoff
	})
}

// entitlementRegion returns where entitlements of a partition are served: one
// region each (General Reference "AWS Marketplace endpoints", 2026-07). The SDK
// would make up a host name for any other.
func entitlementRegion(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "cn-northwest-1"
	case strings.HasPrefix(region, "eusc-"):
		return "eusc-de-east-1"
	default:
		return defaultRegion
	}
}
