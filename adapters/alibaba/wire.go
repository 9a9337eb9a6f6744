package alibaba

// createAnswer answers createInstance. InstanceID "0" means "not yet".
type createAnswer struct {
	InstanceID string   `json:"instanceId"`
	AppInfo    *appInfo `json:"appInfo,omitempty"`
	Info       *info    `json:"info,omitempty"`
	Message    string   `json:"message,omitempty"`
}

// appInfo is shown to the buyer, so it never holds a password.
type appInfo struct {
	FrontEndURL string `json:"frontEndUrl"`
	AdminURL    string `json:"adminUrl"`
	AuthURL     string `json:"authUrl"`
}

// info is shown to the buyer. That it is a flat object of texts is inferred from
// what the API reads back.
type info struct {
	Notes string `json:"Notes"`
}

// successAnswer answers everything else. Success is true, or "true" where that
// is configured.
type successAnswer struct {
	Success any    `json:"success"`
	Message string `json:"message,omitempty"`
}

// failedNotifications is the answer of DescribeFailedNotifications.
type failedNotifications struct {
	TotalCount       int            `json:"TotalCount"`
	NotificationList []notification `json:"NotificationList"`
}

// notification is a message that could not be delivered. Message holds its
// parameters as a JSON object.
type notification struct {
	NotificationRequestID string `json:"NotificationRequestId"`
	Action                string `json:"Action"`
	Message               string `json:"Message"`
}
