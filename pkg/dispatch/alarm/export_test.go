package alarm

import "net/http"

// Through has calls go through rt.
func (a *Alarms) Through(rt http.RoundTripper) { a.client.Transport = rt }
