package day

type wireTransaction struct {
	ID            int64    `json:"id"`
	OrderID       int64    `json:"order_id"`
	Kind          string   `json:"kind"`
	Gateway       string   `json:"gateway"`
	Status        string   `json:"status"`
	CreatedAt     string   `json:"created_at"`
	ProcessedAt   string   `json:"processed_at"`
	Test          bool     `json:"test"`
	Authorization *string  `json:"authorization"`
	ParentID      *int64   `json:"parent_id"`
	Amount        string   `json:"amount"`
	Currency      string   `json:"currency"`
	SourceName    string   `json:"source_name"`
	ErrorCode     *string  `json:"error_code"`
	Details       *wirePay `json:"payment_details,omitempty"`
}

type wirePay struct {
	CardNumber  string `json:"credit_card_number"`
	CardCompany string `json:"credit_card_company"`
	Method      string `json:"payment_method_name"`
}

type wireRefund struct {
	ID           int64                `json:"id"`
	OrderID      int64                `json:"order_id"`
	CreatedAt    string               `json:"created_at"`
	ProcessedAt  string               `json:"processed_at"`
	Note         *string              `json:"note"`
	Restock      bool                 `json:"restock"`
	LineItems    []wireRefundLine     `json:"refund_line_items"`
	Shipping     []wireRefundShipping `json:"refund_shipping_lines"`
	Transactions []wireTransaction    `json:"transactions"`
	Adjustments  []wireAdjustment     `json:"order_adjustments"`
}

type wireRefundLine struct {
	ID          int64    `json:"id"`
	LineItemID  int64    `json:"line_item_id"`
	LocationID  *int64   `json:"location_id"`
	Quantity    int64    `json:"quantity"`
	RestockType string   `json:"restock_type"`
	Subtotal    rate     `json:"subtotal"`
	SubtotalSet wireSet  `json:"subtotal_set"`
	TotalTax    rate     `json:"total_tax"`
	TotalTaxSet wireSet  `json:"total_tax_set"`
	LineItem    wireLine `json:"line_item"`
}

type wireRefundShipping struct {
	ID          int64   `json:"id"`
	SubtotalSet wireSet `json:"subtotal_amount_set"`
	TaxSet      wireSet `json:"tax_amount_set"`
}

type wireAdjustment struct {
	ID        int64   `json:"id"`
	OrderID   int64   `json:"order_id"`
	RefundID  int64   `json:"refund_id"`
	Amount    string  `json:"amount"`
	TaxAmount string  `json:"tax_amount"`
	Kind      string  `json:"kind"`
	Reason    string  `json:"reason"`
	AmountSet wireSet `json:"amount_set"`
}

type wireDelta struct {
	ID    int64 `json:"id"`
	Delta int64 `json:"delta"`
}

type wireEdit struct {
	Edit struct {
		ID          int64   `json:"id"`
		OrderID     int64   `json:"order_id"`
		CreatedAt   string  `json:"created_at"`
		CommittedAt string  `json:"committed_at"`
		StaffNote   *string `json:"staff_note"`
		LineItems   struct {
			Additions []wireDelta `json:"additions"`
			Removals  []wireDelta `json:"removals"`
		} `json:"line_items"`
	} `json:"order_edit"`
}
