package shopify

import (
	"time"

	"github.com/eventspine/spine/pkg/money"
)

// The bodies, as far as the facts need them. Names and nulls are the vendor's:
// https://shopify.dev/docs/api/admin-rest/latest/resources/order

// orderState is the order resource.
type orderState struct {
	ID                  int64         `json:"id" spine:"required"`
	Name                string        `json:"name" spine:"required"` // "#1071"
	CreatedAt           time.Time     `json:"created_at" spine:"required"`
	ProcessedAt         time.Time     `json:"processed_at" spine:"required"`
	UpdatedAt           time.Time     `json:"updated_at" spine:"required"`
	CancelledAt         *time.Time    `json:"cancelled_at"`
	CancelReason        string        `json:"cancel_reason"`
	Currency            string        `json:"currency" spine:"required"` // of the shop
	PresentmentCurrency string        `json:"presentment_currency" spine:"required"`
	TaxesIncluded       bool          `json:"taxes_included" spine:"required"`
	DutiesIncluded      bool          `json:"duties_included"`
	EstimatedTaxes      bool          `json:"estimated_taxes"`
	Test                bool          `json:"test"`
	SourceName          string        `json:"source_name"`
	FinancialStatus     string        `json:"financial_status"`
	FulfillmentStatus   string        `json:"fulfillment_status"`
	Gateways            []string      `json:"payment_gateway_names"`
	PaymentTerms        *paymentTerms `json:"payment_terms"`
	Note                string        `json:"note"`
	Email               string        `json:"email"`
	Phone               string        `json:"phone"`
	Locale              string        `json:"customer_locale"`
	AcceptsMarketing    *bool         `json:"buyer_accepts_marketing"`
	Customer            *customer     `json:"customer"`
	Billing             *address      `json:"billing_address"`
	Shipping            *address      `json:"shipping_address"`
	Lines               []line        `json:"line_items" spine:"required"`
	Freight             []freight     `json:"shipping_lines" spine:"required"`
	Discounts           []discount    `json:"discount_applications" spine:"required"`
	Tax                 moneySet      `json:"total_tax_set" spine:"required"`
	Duties              *moneySet     `json:"original_total_duties_set"`
	Fees                *moneySet     `json:"original_total_additional_fees_set"`
	Total               moneySet      `json:"total_price_set" spine:"required"`
	Refunds             []struct {
		Lines []struct {
			Restock string `json:"restock_type"`
		} `json:"refund_line_items"`
	} `json:"refunds"`
}

// moneySet is one amount in the currency of the shop and in the one that the
// customer sees.
type moneySet struct {
	Shop        amount `json:"shop_money" spine:"required"`
	Presentment amount `json:"presentment_money" spine:"required"`
}

type amount struct {
	Amount   money.Decimal `json:"amount" spine:"required"`
	Currency string        `json:"currency_code" spine:"required"`
}

// item identifies what a line sells.
type item struct {
	ID      int64  `json:"id" spine:"required"`
	SKU     string `json:"sku"`
	Variant *int64 `json:"variant_id"`
}

type line struct {
	item
	Name             string       `json:"name" spine:"required"`
	Quantity         int64        `json:"quantity" spine:"required"`
	Price            moneySet     `json:"price_set" spine:"required"`
	Product          *int64       `json:"product_id"`
	RequiresShipping *bool        `json:"requires_shipping"`
	Inventory        string       `json:"variant_inventory_management"` // who counts its stock
	Tip              *struct{}    `json:"tip"`                          // on tips only
	TipGateway       string       `json:"tip_payment_gateway"`          // the same, before there was tip
	Taxes            []taxLine    `json:"tax_lines"`
	Duties           []moneySet   `json:"duties"`
	Allocations      []allocation `json:"discount_allocations"`
}

type freight struct {
	Code        string       `json:"code"`
	Title       string       `json:"title"`
	Price       moneySet     `json:"price_set" spine:"required"`
	Taxes       []taxLine    `json:"tax_lines"`
	Allocations []allocation `json:"discount_allocations"`
}

type taxLine struct {
	Title string        `json:"title"`
	Rate  money.Decimal `json:"rate"`
	Price moneySet      `json:"price_set" spine:"required"`
}

type allocation struct {
	Amount moneySet `json:"amount_set" spine:"required"`
	Index  int      `json:"discount_application_index" spine:"required"`
}

type discount struct {
	TargetType string `json:"target_type"`      // line_item, shipping_line
	Selection  string `json:"target_selection"` // all, entitled, explicit
	Type       string `json:"type"`             // discount_code, automatic, manual, script
	Code       string `json:"code"`
	Title      string `json:"title"`
}

type customer struct {
	ID        int64  `json:"id" spine:"required"`
	Email     string `json:"email"`
	Phone     string `json:"phone"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
}

type address struct {
	Name     string `json:"name"`
	Company  string `json:"company"`
	Line1    string `json:"address1"`
	Line2    string `json:"address2"`
	City     string `json:"city"`
	Province string `json:"province_code"`
	Zip      string `json:"zip"`
	Country  string `json:"country_code"`
	Phone    string `json:"phone"`
}

type paymentTerms struct {
	Schedules []struct {
		DueAt *time.Time `json:"due_at"`
	} `json:"payment_schedules"`
}
