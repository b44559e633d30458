# The three-legged flow with Ruby's oauth, which signs, and Net::HTTP below it, which sends.
#
# Has the dialogue of dialogue.mjs with the test. The job's `scheme` says where the parameters of
# token requests go ("header", "body" or "query_string"), its `method` how they are sent.

require "cgi"
require "json"
require "oauth"

$stdout.sync = true

def hear
  JSON.parse($stdin.gets || abort("the test has gone"))
end

def say(what)
  puts JSON.generate(what)
end

def read(answer)
  raise "#{answer.code} #{answer.body}" unless answer.code == "200"

  JSON.parse(answer.body)
end

job = hear
key, secret = job["consumer"].values_at("key", "secret")
site = { site: job["at"]["host"] }
options = { scheme: job["scheme"].to_sym, http_method: job["method"].to_sym }
consumer = OAuth::Consumer.new(key, secret, **site, **options)

# Without a callback the gem asks for a PIN.
wanted = job["callback"] == "oob" ? {} : { oauth_callback: job["callback"] }
request = consumer.get_request_token(wanted)
say(open: request.authorize_url, confirmed: request.callback_confirmed?)
ended = hear
verifier = ended["pin"] || CGI.parse(URI(ended["callback"]).query)["oauth_verifier"].first
granted = request.get_access_token(oauth_verifier: verifier)

# Calls are signed in the header. A JSON body is sent with its hash.
api = OAuth::Consumer.new(key, secret, **site)
token = OAuth::AccessToken.new(api, granted.token, granted.secret)
json = { "Content-Type" => "application/json" }
answers = job["ask"].map { |ask| read(token.post(ask["url"], JSON.generate(ask["body"]), json)) }
sent = api.create_signed_request(:post, "/", token, {}, "{}", json)
say(
  token: { key: token.token, secret: token.secret },
  owner: granted.params.slice("user_id", "screen_name"),
  user: read(token.get(job["at"]["verify_credentials"])),
  answers: answers,
  hashes_bodies: sent["Authorization"].include?("oauth_body_hash="),
)
