package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/eventspine/spine/pkg/app/play"
	"github.com/eventspine/spine/pkg/devstack"
	"github.com/eventspine/spine/pkg/devstack/devtest"
	"github.com/eventspine/spine/pkg/event"
	"github.com/eventspine/spine/pkg/producer"
	"github.com/eventspine/spine/producers"
)

// update rewrites the golden parts of the scripts.
var update = flag.Bool("update", false, "rewrite the golden parts of testdata/script")

const repository = "../.."

// TestCommands runs every command as its user does, beside one spine dev that has
// played a few orders of its demo shops.
func TestCommands(t *testing.T) {
	t.Parallel()
	d := startDev(t, t.TempDir())
	order := playOrders(t, d)
	empty, err := devstack.Start(t.Context(), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = empty.Close() })
	t.Run("scripts", func(t *testing.T) {
		testscript.Run(t, testscript.Params{
			Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
			Setup: func(e *testscript.Env) error {
				e.Vars = append(append(e.Vars, d.env()...), "ORDER="+order,
					"EMPTY_BROKERS="+strings.Join(empty.Brokers(), ","), "EMPTY_REGISTRY="+empty.RegistryURL())
				return nil
			},
			Cmds: map[string]func(*testscript.TestScript, bool, []string){
				"exits": exits, "normal": normal, "produce": produce, "setting": setting, "schemas": copySchemas,
			},
		})
	})
	t.Run("tail follows", func(t *testing.T) { t.Parallel(); tailFollows(t, d) })
	t.Run("run intake", func(t *testing.T) { t.Parallel(); runIntake(t, d) })
	t.Run("readme", func(t *testing.T) { t.Parallel(); readme(t, d) })
	t.Run("how to sign", func(t *testing.T) { t.Parallel(); howToSign(t, d) })
}

// playOrders sends the first orders of the demo shops' day, one call after the other,
// and waits until all groups have done their part. It returns the least of their keys.
func playOrders(t *testing.T, d dev) string {
	t.Helper()
	const orders = 5
	day := producers.All()[0].Day
	var shops []producer.Shop
	for _, in := range day.Instances {
		shops = append(shops, producer.Shop{Instance: in, Secret: d.secret()})
	}
	report, err := play.Send(t.Context(), day.Calls(1, orders, shops), play.Options{URL: d.Intake, Workers: 1})
	if err != nil || len(report.Unexpected) > 0 {
		t.Fatalf("playing orders: %v %v", err, report.Unexpected)
	}
	var keys []string
	devtest.Eventually(t, 60*time.Second, "every order is translated", func() bool {
		keys = nil
		tail := start(t, t.TempDir(), d.env(), "tail", "order.placed.v2", "-o", "json", "--offset", ":end")
		for line := range tail.lines {
			var order struct{ Key string }
			if err := json.Unmarshal([]byte(line), &order); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, order.Key)
		}
		return len(keys) >= orders // more, where others were played before
	})
	devtest.Eventually(t, 60*time.Second, "every group is done", func() bool {
		cmd := start(t, t.TempDir(), d.env(), "groups", "list", "-o", "json")
		var groups []struct {
			Handled, Lag, Outgoing int
			Effects                struct{ Open int }
		}
		if err := json.Unmarshal([]byte(cmd.line(30*time.Second)), &groups); err != nil {
			t.Fatal(err)
		}
		done := len(groups) > 0
		for _, g := range groups {
			done = done && g.Handled > 0 && g.Lag+g.Outgoing+g.Effects.Open == 0
		}
		return done
	})
	return slices.Min(keys) // not the first record's: the shops are translated side by side
}

func timeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 30*time.Second)
}

// exits runs a command that must end with an exit code: exits 3 spine audit.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits code command arg...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// normal prints the JSON of stdout, indented, the values of the given keys as "*":
// normal timestamp offset.
func normal(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: normal key...")
	}
	var out bytes.Buffer
	for d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout"))); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		ts.Check(err)
		ts.Check(json.Indent(&out, raw, "", "  "))
		out.WriteString("\n")
	}
	text := out.String()
	for _, key := range args {
		value := regexp.MustCompile(`("` + regexp.QuoteMeta(key) + `": )("(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+)`)
		text = value.ReplaceAllString(text, `$1"*"`)
	}
	_, err := io.WriteString(ts.Stdout(), text)
	ts.Check(err)
}

func kafka(ts *testscript.TestScript, variable string) *kgo.Client {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(ts.Getenv(variable), ",")...), kgo.AllowAutoTopicCreation())
	ts.Check(err)
	return client
}

// produce writes a record to a topic, which it creates: produce topic key value name=header...
func produce(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: produce topic key value name=header...")
	}
	client := kafka(ts, "SPINE_KAFKA_BROKERS")
	defer client.Close()
	ctx, cancel := timeout()
	defer cancel()
	_, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, args[0])
	if err != nil && !strings.Contains(err.Error(), "TOPIC_ALREADY_EXISTS") {
		ts.Check(err)
	}
	r := &kgo.Record{Topic: args[0], Key: []byte(args[1]), Value: []byte(args[2])}
	for _, h := range args[3:] {
		name, value, _ := strings.Cut(h, "=")
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	ts.Check(client.ProduceSync(ctx, r).FirstErr())
}

// setting changes a topic behind spine's back: setting topic name value.
func setting(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: setting topic name value")
	}
	client := kafka(ts, "EMPTY_BROKERS")
	defer client.Close()
	ctx, cancel := timeout()
	defer cancel()
	done, err := kadm.NewClient(client).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: args[1], Value: &args[2]}}, args[0])
	ts.Check(err)
	for _, r := range done {
		ts.Check(r.Err)
	}
}

// copySchemas copies the schemas of this repository to a folder of the script.
func copySchemas(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: schemas folder")
	}
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(filepath.Join(repository, "schemas"))))
}

// tailFollows: what was there, then what comes, until a signal ends it with exit 0.
func tailFollows(t *testing.T, d dev) {
	t.Helper()
	p := start(t, t.TempDir(), d.env(), "tail", "order.placed.v2", "-f", "-n", "1", "-o", "json")
	key := func() string {
		line := p.line(30 * time.Second)
		var shown struct {
			Key   string
			Event struct{ Type string }
		}
		if err := json.Unmarshal([]byte(line), &shown); err != nil || shown.Event.Type != "order.placed.v2" {
			t.Fatalf("%q: %v", line, err)
		}
		return shown.Key
	}
	first := key()
	in := producers.All()[0].Day.Instances[1]
	sent := send(t, d, d.Intake, in, 4711)
	if first == sent {
		t.Errorf("%s is shown before it was sent", sent)
	}
	for came := ""; came != sent; { // tests beside this one send orders of their own
		came = key()
	}
	if code := p.end(syscall.SIGINT); code != 0 {
		t.Errorf("exit %d after SIGINT\n%s", code, p.stderr)
	}
}

// send sends the first order of a shop's day, and answers its record key.
func send(t *testing.T, d dev, url string, in event.Instance, seed uint64) (key string) {
	t.Helper()
	first := func(yield func(producer.Call) bool) {
		for call := range producers.All()[0].Day.Calls(seed, 3, []producer.Shop{{Instance: in, Secret: d.secret()}}) {
			if call.Expect == http.StatusOK && (call.Note == "" || call.Note == "burst") && call.Header.Get("X-Shopify-Topic") == "orders/create" {
				key = event.Key(in.String(), producer.JSONField("id")(nil, call.Body))
				yield(call)
				return
			}
		}
	}
	report, err := play.Send(t.Context(), first, play.Options{URL: url})
	if err != nil || len(report.Unexpected) > 0 || len(report.Accepted) != 1 {
		t.Fatalf("sending an order: %+v, %v", report, err)
	}
	return key
}

// runIntake: a role of its own, beside the others, ready when its parts answer.
func runIntake(t *testing.T, d dev) {
	t.Helper()
	dir := t.TempDir()
	in := producers.All()[0].Day.Instances[0]
	intake, ops := free(t), free(t)
	config := "instances:\n  " + in.String() + ":\n    secret: env:SHOP_SECRET\n    time_zone: " + in.TimeZone + "\n    shop_domain: " + in.ShopDomain + "\n"
	if err := os.WriteFile(filepath.Join(dir, "spine.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(d.env(), "SPINE_INTAKE_LISTEN="+intake, "SPINE_OPS_LISTEN="+ops, "SPINE_INTAKE_SPOOL="+filepath.Join(dir, "spool.db"), "SHOP_SECRET="+string(d.secret()))
	p := start(t, dir, env, "run", "intake")
	devtest.Eventually(t, 30*time.Second, "the role is ready", func() bool {
		resp, err := http.Get("http://" + ops + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	send(t, d, "http://"+intake, in, 77)
	if code := p.end(syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d after SIGTERM\n%s", code, p.stderr)
	}
}

// free is an address that was free a moment ago.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// readme runs the commands of the README, from this repository's root. The ones that
// stay up are ended by a signal once they have said something.
func readme(t *testing.T, d dev) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(raw), -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ = strings.Cut(line, "#")
			for command := range strings.SplitSeq(line, "&&") {
				words := strings.Fields(command)
				if len(words) < 2 || words[0] != "spine" {
					continue // go run and go test are what runs this
				}
				ran++
				t.Run(strings.Join(words, " "), func(t *testing.T) { t.Parallel(); runReadme(t, d, words[1:]) })
			}
		}
	}
	if ran < 5 {
		t.Errorf("found %d commands of spine in the README, want 5 or more", ran)
	}
}

func runReadme(t *testing.T, d dev, words []string) {
	t.Helper()
	if words[0] == "dev" { // elsewhere, and without the ports that others may use
		words = append(words, "--data", t.TempDir(), "--kafka", ":0", "--registry", ":0", "--intake", ":0", "--ops", ":0")
	}
	follows := slices.Contains(words, "-f")
	if follows { // one that was there says that it reads
		words = append(words, "-n", "1")
	}
	env := d.env()
	if words[0] == "dev" {
		env = nil
	}
	p := start(t, repository, env, words...)
	if follows || words[0] == "dev" {
		p.line(60 * time.Second)
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	if code := p.code(60 * time.Second); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr)
	}
}

// howToSign runs the commands that dev prints for its demo shops.
func howToSign(t *testing.T, d dev) {
	t.Helper()
	for _, tool := range []string{"curl", "openssl", "base64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the printed commands need %s", tool)
		}
	}
	commands := regexp.MustCompile(`(?s)To send an order of the demo shop (\S+):\n(.*?base64\)")`).FindAllStringSubmatch(d.stderr.String(), -1)
	if len(commands) != 2 {
		t.Fatalf("dev printed %d commands:\n%s", len(commands), d.stderr)
	}
	for _, c := range commands {
		out, err := exec.CommandContext(t.Context(), "bash", "-c", c[2]).Output()
		if err != nil || !strings.Contains(string(out), "200 OK") || !strings.Contains(string(out), `"received":true`) {
			t.Errorf("%s: %v\n%s", c[1], err, out)
		}
	}
}
