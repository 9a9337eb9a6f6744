// Package alibaba speaks the dialect of Alibaba Cloud Marketplace, of the
// China site and of the international one.
//
// # Protocol
//
// The marketplace calls one URL per product, by GET with everything in the
// query ("SPI"); the parameter action says what happened. Facts are from the
// pages of help.aliyun.com/zh/marketplace and alibabacloud.com/help/marketplace
// as of November 2026; what those pages leave open is marked "inferred" here
// and can be configured.
//
//   - Token: MD5 in lower-case hex over all other parameters, decoded, sorted by
//     name in byte order, as "name=value" joined by "&", then "&key=" and the
//     seller's key (page "token", revision of 2025-03-31). That values are
//     decoded, empty ones are kept and the first of doubled ones counts is
//     inferred from implementations. There is no nonce: callbacks can be
//     repeated by anyone who saw one, so a repeat must never change anything.
//   - A purchase is createInstance. Its orderBizId is the marketplace's own
//     instance id and the key of the purchase; an order may own several. We
//     answer the same id as our instanceId, as the page recommends, for ever.
//   - instanceId "0" from createInstance, anything but success from the others,
//     and any status but 200 count as failure and are tried again, up to 120
//     times. The interval is not published.
//   - renewInstance states an absolute end, and is also sent when arrears of a
//     pay-as-you-go instance are paid. refundRenewInstance is the only one that
//     shortens a term. resumeInstance, refundRenewInstance and orderPay are
//     documented for the China site only; the orderId of upgradeInstance and
//     the isRefund of releaseInstance are missing from the international pages.
//   - orderPay is information: it is repeated after 1m 1m 1m 5m 10m 10m 10m 1h
//     1h 2h 4h and then waits to be pulled with DescribeFailedNotifications and
//     ConfirmNotification (Market 2015-11-01).
//   - verify is opened by the buyer's browser, signed the same way with a
//     timeStamp and without any identity but the instance's.
//   - Times have no zone on the wire; they are Beijing time (inferred; key
//     time_zone).
//   - The samples answer success as the text "true", the type column says
//     Boolean: key success_as_string chooses.
//
// # Metering
//
// Usage is reported with PushMeteringData (help.aliyun.com/zh/marketplace/
// api-pushmeteringdata), in its version 2015-11-01 or, on the international
// site, 2022-12-30: key metering.api. The rules are the same as far as they are
// documented; those of the newer version are inferred from the older one.
//
//   - A record is units of one key and billing item of one instance, in a period
//     longer than five minutes. Money is truncated there to two decimals per
//     bill line.
//   - Usage of an hour is taken until one minute before the next hour is over,
//     of a product that is billed daily until 01:59 of the next day. What comes
//     later, or was after the hour in which the instance ended, may be answered
//     with success and is not billed.
//   - There is no key that makes a repeat harmless, and no way to ask what is on
//     file. Keys metering.on_ambiguous, on_server_error and batch say what may
//     be presumed; the defaults never risk more than a person's attention, but
//     for errors of servers, after which the notes on the protocol say to repeat.
//   - One request of an instance a minute, 100 records a request, one product a
//     request. Errors of the caller come with status 500.
//
// A record that ends without being accepted is due again, and so is reported
// later under another period.
//
// # Receiving
//
// Receive verifies the token before it looks at anything else but the syntax,
// so nothing in an event was ever unsigned.
//
// # Answers
//
// Decisions, refusals included, are HTTP 200 with JSON, as the pages show.
// Statuses of their own have only what no decision was made about: 413 for a
// callback over the limits, 503 while the store or a provider is away, 500 for
// faults of ours, 404 and 405 for paths and methods that the marketplace never
// uses. All of these count as failure there, so it will ask again.
package alibaba
