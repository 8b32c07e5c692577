package day

type wireLine struct {
	ID               int64     `json:"id"`
	GraphQL          string    `json:"admin_graphql_api_id"`
	CurrentQuantity  int64     `json:"current_quantity"`
	Fulfillable      int64     `json:"fulfillable_quantity"`
	GiftCard         bool      `json:"gift_card"`
	Grams            int64     `json:"grams"`
	Name             string    `json:"name"`
	Price            string    `json:"price"`
	PriceSet         wireSet   `json:"price_set"`
	ProductExists    bool      `json:"product_exists"`
	ProductID        *int64    `json:"product_id"`
	Quantity         int64     `json:"quantity"`
	RequiresShipping bool      `json:"requires_shipping"`
	SKU              *string   `json:"sku"`
	Taxable          bool      `json:"taxable"`
	Tip              *wireTip  `json:"tip,omitempty"`
	Title            string    `json:"title"`
	TotalDiscount    string    `json:"total_discount"`
	VariantID        *int64    `json:"variant_id"`
	VariantInventory *string   `json:"variant_inventory_management"`
	TaxLines         []wireTax `json:"tax_lines"`
	Cuts             []wireCut `json:"discount_allocations"`
}

type wireShipping struct {
	ID       int64     `json:"id"`
	Code     string    `json:"code"`
	Price    string    `json:"price"`
	PriceSet wireSet   `json:"price_set"`
	Source   string    `json:"source"`
	Title    string    `json:"title"`
	TaxLines []wireTax `json:"tax_lines"`
	Cuts     []wireCut `json:"discount_allocations"`
}
