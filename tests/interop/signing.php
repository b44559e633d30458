<?php
// OAuth 1.0a as PHP's Twitter libraries do it: with hash_hmac and curl, which both are PHP's own.

declare(strict_types=1);

const HOST = 'https://api.twitter.com';

// The protocol parameters without the signature. Libraries differ in the nonce.
function protocol(array $consumer, ?string $token, array $more = []): array
{
    return array_filter($more + [
        'oauth_consumer_key' => $consumer['key'],
        'oauth_nonce' => bin2hex(random_bytes(16)),
        'oauth_signature_method' => 'HMAC-SHA1',
        'oauth_timestamp' => (string) time(),
        'oauth_token' => $token,
        'oauth_version' => '1.0',
    ], fn ($value) => $value !== null);
}

// Each name stands once in the base string, because the parameters are the keys of an array.
function signature(string $method, string $url, array $signed, string $secret, string $tokenSecret): string
{
    ksort($signed);
    $query = http_build_query($signed, '', '&', PHP_QUERY_RFC3986);
    $base = implode('&', array_map('rawurlencode', [$method, $url, $query]));
    $key = rawurlencode($secret) . '&' . rawurlencode($tokenSecret);
    return base64_encode(hash_hmac('sha1', $base, $key, true));
}

function header_of(array $parameters): string
{
    $parts = [];
    foreach ($parameters as $name => $value) {
        $parts[] = sprintf('%s="%s"', rawurlencode($name), rawurlencode($value));
    }
    return 'Authorization: OAuth ' . implode(', ', $parts);
}

// Returns [status, body]. A string body has the content type of a form, as curl sends it.
function send(string $method, string $url, array $headers, ?string $body = null): array
{
    $curl = curl_init($url);
    $options = [CURLOPT_RETURNTRANSFER => true, CURLOPT_HTTPHEADER => [...$headers, 'Expect:'], CURLOPT_ENCODING => 'gzip'];
    if ($method === 'POST') {
        $options += [CURLOPT_POST => true, CURLOPT_POSTFIELDS => $body ?? ''];
    }
    curl_setopt_array($curl, $options);
    $answer = curl_exec($curl);
    if ($answer === false) {
        throw new RuntimeException(curl_error($curl));
    }
    return [curl_getinfo($curl, CURLINFO_HTTP_CODE), $answer];
}

function hear(): array
{
    return json_decode(fgets(STDIN), true, flags: JSON_THROW_ON_ERROR);
}

function say(mixed $what): void
{
    echo json_encode($what, JSON_THROW_ON_ERROR), "\n";
}
