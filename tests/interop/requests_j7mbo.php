<?php
// The requests of J7mbo/twitter-api-php: the nonce is the timestamp, and a JSON body goes out under
// the content type of a form, which is curl's default. All calls have the same second; the last repeats
// the first.

declare(strict_types=1);

require __DIR__ . '/signing.php';

$job = hear();
$second = (string) time();
$answers = [];
foreach ([...$job['ask'], $job['ask'][0]] as ['path' => $path, 'body' => $body]) {
    $url = 'https://data-api.twitter.com' . $path;
    $signed = protocol($job['consumer'], $job['token']['key'], ['oauth_nonce' => $second, 'oauth_timestamp' => $second]);
    $signed['oauth_signature'] = signature('POST', $url, $signed, $job['consumer']['secret'], $job['token']['secret']);
    [$status, $answer] = send('POST', $url, [header_of($signed)], json_encode($body));
    $answers[] = ['status' => $status, 'body' => json_decode($answer)];
}
say($answers);
