# Sends a request to the real host of the data API, signed by Ruby's oauth.
#
# Proxy, certificate and credentials come from the environment, the body from standard input.

require "json"
require "oauth"

site = "https://data-api.twitter.com"
consumer = OAuth::Consumer.new(ENV["CONSUMER_KEY"], ENV["CONSUMER_SECRET"], site: site)
token = OAuth::AccessToken.new(consumer, ENV["ACCESS_TOKEN"], ENV["ACCESS_TOKEN_SECRET"])
headers = { "Content-Type" => "application/json" }
answer = token.post("/insights/engagement/totals", $stdin.read, headers)
refused = begin
  Net::HTTP.get(URI("https://example.com/"))
rescue StandardError => error
  error.message
end
puts JSON.generate(status: answer.code.to_i, body: JSON.parse(answer.body), refused: refused)
