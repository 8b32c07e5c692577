package day

// The bodies of a Day, in the vendor's words. They are written by structs of their
// own, so that the adapter is never tried on what its own structs wrote.

type wireMoney struct {
	Amount   string `json:"amount"`
	Currency string `json:"currency_code"`
}

type wireSet struct {
	Shop        wireMoney `json:"shop_money"`
	Presentment wireMoney `json:"presentment_money"`
}

type wireOrder struct {
	ID                 int64             `json:"id"`
	GraphQL            string            `json:"admin_graphql_api_id"`
	BuyerAccepts       bool              `json:"buyer_accepts_marketing"`
	CancelReason       *string           `json:"cancel_reason"`
	CancelledAt        *string           `json:"cancelled_at"`
	Confirmed          bool              `json:"confirmed"`
	CreatedAt          string            `json:"created_at"`
	Currency           string            `json:"currency"`
	CustomerLocale     *string           `json:"customer_locale"`
	DutiesIncluded     bool              `json:"duties_included"`
	Email              string            `json:"email"`
	EstimatedTaxes     bool              `json:"estimated_taxes"`
	FinancialStatus    string            `json:"financial_status"`
	FulfillmentStatus  *string           `json:"fulfillment_status"`
	Name               string            `json:"name"`
	Note               *string           `json:"note"`
	OrderNumber        int64             `json:"order_number"`
	DutiesSet          *wireSet          `json:"original_total_duties_set"`
	FeesSet            *wireSet          `json:"original_total_additional_fees_set"`
	Gateways           []string          `json:"payment_gateway_names"`
	Phone              *string           `json:"phone"`
	PresentmentCurr    string            `json:"presentment_currency"`
	ProcessedAt        string            `json:"processed_at"`
	SourceName         string            `json:"source_name"`
	SubtotalPrice      string            `json:"subtotal_price"`
	Tags               string            `json:"tags"`
	TaxesIncluded      bool              `json:"taxes_included"`
	Test               bool              `json:"test"`
	TotalDiscounts     string            `json:"total_discounts"`
	TotalDiscountsSet  wireSet           `json:"total_discounts_set"`
	TotalLineItems     string            `json:"total_line_items_price"`
	TotalPrice         string            `json:"total_price"`
	TotalPriceSet      wireSet           `json:"total_price_set"`
	TotalShippingSet   wireSet           `json:"total_shipping_price_set"`
	TotalTax           string            `json:"total_tax"`
	TotalTaxSet        wireSet           `json:"total_tax_set"`
	TotalTip           string            `json:"total_tip_received"`
	UpdatedAt          string            `json:"updated_at"`
	BillingAddress     *wireAddress      `json:"billing_address"`
	Customer           *wireCustomer     `json:"customer"`
	DiscountApplied    []wireApplication `json:"discount_applications"`
	LineItems          []wireLine        `json:"line_items"`
	Refunds            []wireRefund      `json:"refunds"`
	ShippingAddress    *wireAddress      `json:"shipping_address"`
	ShippingLines      []wireShipping    `json:"shipping_lines"`
	PaymentTerms       *struct{}         `json:"payment_terms"`
	MerchantOfRecordID *int64            `json:"merchant_of_record_app_id"`
}

type wireAddress struct {
	FirstName    string  `json:"first_name"`
	LastName     string  `json:"last_name"`
	Name         string  `json:"name"`
	Address1     string  `json:"address1"`
	Address2     *string `json:"address2"`
	City         string  `json:"city"`
	Zip          string  `json:"zip"`
	ProvinceCode *string `json:"province_code"`
	CountryCode  string  `json:"country_code"`
	Company      *string `json:"company"`
	Phone        *string `json:"phone"`
}

type wireCustomer struct {
	ID        int64   `json:"id"`
	Email     *string `json:"email"`
	FirstName string  `json:"first_name"`
	LastName  string  `json:"last_name"`
	Phone     *string `json:"phone"`
	Currency  string  `json:"currency"`
}

type wireApplication struct {
	TargetType      string  `json:"target_type"`
	Type            string  `json:"type"`
	Value           string  `json:"value"`
	ValueType       string  `json:"value_type"`
	Allocation      string  `json:"allocation_method"`
	TargetSelection string  `json:"target_selection"`
	Code            *string `json:"code,omitempty"`
	Title           *string `json:"title,omitempty"`
}

type wireCut struct {
	Amount    string  `json:"amount"`
	AmountSet wireSet `json:"amount_set"`
	Index     int     `json:"discount_application_index"`
}

type wireTax struct {
	ChannelLiable bool    `json:"channel_liable"`
	Price         string  `json:"price"`
	PriceSet      wireSet `json:"price_set"`
	Rate          rate    `json:"rate"`
	Title         string  `json:"title"`
}

// rate is written as the number that it reads.
type rate string

// MarshalJSON is the literal.
func (r rate) MarshalJSON() ([]byte, error) { return []byte(r), nil }

type wireTip struct {
	Gateway *string `json:"payment_gateway"`
	Method  *string `json:"payment_method"`
}
