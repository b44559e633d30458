<?php
// The three-legged flow with the requests of abraham/twitteroauth. A call's parameters take the
// places of the usual ones in the header, and stand in the form as well, except oauth_callback and
// oauth_verifier. Twitter's Engagement API Explorer sends its oauth_token like this.

declare(strict_types=1);

require __DIR__ . '/signing.php';

function call(string $method, string $path, array $consumer, array $token, array $parameters = []): string
{
    $signed = protocol($consumer, $token['key'], $parameters);
    $signed['oauth_signature'] = signature($method, HOST . $path, $signed, $consumer['secret'], $token['secret']);
    $protocol = array_filter($signed, fn ($name) => str_starts_with($name, 'oauth'), ARRAY_FILTER_USE_KEY);
    unset($parameters['oauth_callback'], $parameters['oauth_verifier']);
    $body = http_build_query($parameters, '', '&', PHP_QUERY_RFC3986);
    [$status, $answer] = send($method, HOST . $path, ['Accept: application/json', header_of($protocol)], $body);
    if ($status !== 200) {
        throw new RuntimeException("$status $answer");
    }
    return $answer;
}

$job = hear();
$consumer = $job['consumer'];
$none = ['key' => null, 'secret' => ''];
parse_str(call('POST', '/oauth/request_token', $consumer, $none, ['oauth_callback' => $job['callback']]), $begun);
say(['open' => HOST . '/oauth/authorize?oauth_token=' . $begun['oauth_token']]);
$ended = hear();
parse_str(parse_url($ended['callback'] ?? '', PHP_URL_QUERY) ?? '', $query);

// The Explorer signs with the token that it already has, its owner's.
$signer = $job['owner'] ?? ['key' => $begun['oauth_token'], 'secret' => $begun['oauth_token_secret']];
$parameters = ['oauth_token' => $begun['oauth_token'], 'oauth_verifier' => $ended['pin'] ?? $query['oauth_verifier']];
parse_str(call('POST', '/oauth/access_token', $consumer, $signer, $parameters), $issued);
$token = ['key' => $issued['oauth_token'], 'secret' => $issued['oauth_token_secret']];
$user = json_decode(call('GET', '/1.1/account/verify_credentials.json', $consumer, $token));
$owner = ['userId' => $issued['user_id'], 'screenName' => $issued['screen_name']];
say(['token' => $token, 'owner' => $owner, 'user' => $user, 'answers' => []]);
