package api

import "cloudsettle/core"

// roles is a set of roles.
type roles uint8

// One bit for each role that a key may have.
const (
	byOperator roles = 1 << iota
	byFinance
	byWorkspace // core.RoleWorkspace: what reports usage
	byReadonly
	byAccount // core.RoleAccount: acts for one billing account

	readers  = byOperator | byFinance | byReadonly
	everyone = readers | byWorkspace | byAccount
)

// roleSet returns the set that holds just r, or none if r is unknown.
func roleSet(r core.Role) roles {
	switch r {
	case core.RoleOperator:
		return byOperator
	case core.RoleFinance:
		return byFinance
	case core.RoleWorkspace:
		return byWorkspace
	case core.RoleReadonly:
		return byReadonly
	case core.RoleAccount:
		return byAccount
	}
	return 0
}

// permitted is the whole matrix: who may use which operation of openapi.yaml.
// An operation that is missing here is for nobody. What an account's key may
// use it may use on what is its own; core sees to that.
func permitted(operationID string) roles {
	switch operationID {
	case "whoami", "listSites":
		return everyone
	case "listWorkspaces", "getWorkspace":
		return readers | byWorkspace | byAccount
	case "listBillingAccounts", "getBillingAccount",
		"listCloudAccounts", "getCloudAccount",
		"listSubscriptions", "getSubscription",
		"listBindings", "listListings":
		return readers | byAccount
	case "listCallbacks", "getCallback", "listUsageDays":
		return readers
	case "listUsage":
		return readers | byWorkspace | byAccount
	case "listDailyBills", "listBills", "getBill", "exportBill", "exportBills",
		"listCreditNotes", "getCreditNote", "getCloudAccountBill",
		"listLedgerTransactions", "getWallet", "listVouchers", "listPrepaidCards", "listMeteringRecords", "getSubscriptionMetering":
		return readers | byAccount
	case "listPriceBooks", "getPriceBook", "listSettlementRuns", "getSettlementRun", "previewSettlementRun", "verify",
		"listMeteringHealth":
		return readers
	case "reportUsage":
		return byOperator | byWorkspace
	case "createPriceBook", "createCreditNote", "adjustWallet", "createVoucher", "createPrepaidCard", "startSettlementRun",
		"resolveMeteringRecord", "retrySubscriptionMetering":
		return byOperator | byFinance
	case "createBinding":
		return byOperator | byAccount
	case "createBillingAccount", "updateBillingAccount", "claimCloudAccount",
		"createWorkspace", "replayCallback", "flushMetering",
		"listApiKeys", "createApiKey", "revokeApiKey":
		return byOperator
	}
	return 0
}
