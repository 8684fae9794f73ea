using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §10: whose tokens are taken, and what they say.</summary>
public sealed class UserTokenTests(GuardedNode guarded, SigningKeys keys)
    : IClassFixture<GuardedNode>,
        IClassFixture<SigningKeys>
{
    private const string Rs256 = """{"alg":"RS256","typ":"JWT"}""";
    private const string Es256 = """{"alg":"ES256","typ":"JWT"}""";
    private const string Hs256 = """{"alg":"HS256","typ":"JWT"}""";

    private Node Node => guarded.Node;

    private DateTimeOffset Now => Node.Time.GetUtcNow();

    private string Exp => $"\"exp\":{Now.AddHours(1).ToUnixTimeSeconds()}";

    private string[] Ann => ["\"sub\":\"ann\"", Exp];

    [Fact]
    public async Task A_token_is_accepted_until_the_second_of_its_expiry()
    {
        await AcceptsAsync(Node, Token.Of("ann", Now.AddSeconds(1)));
        foreach (var end in new[] { Now, Now.AddDays(-1), DateTimeOffset.UnixEpoch })
        {
            var answer = await AskAsync(Node, Token.Of("ann", end));
            answer.IsProblem(401, "token_expired");
            Assert.Equal("Bearer error=\"invalid_token\"", answer.Headers["WWW-Authenticate"]);
        }
    }

    [Theory]
    [InlineData(-60, true)]
    [InlineData(60, true)]
    [InlineData(61, false)]
    [InlineData(3_600, false)]
    public async Task A_token_not_yet_valid_is_accepted_within_the_clock_tolerance(int seconds, bool isTaken)
    {
        var token = Token.WithClaims([.. Ann, $"\"nbf\":{Now.AddSeconds(seconds).ToUnixTimeSeconds()}"]);
        await (isTaken ? AcceptsAsync(Node, token) : RefusesAsync(Node, token));
    }

    [Theory]
    [InlineData(
        """
            "sub":"ann"
            """
    )]
    [InlineData(
        """
            "sub":"ann","exp":null
            """
    )]
    [InlineData(
        """
            "sub":"ann","exp":"soon"
            """
    )]
    [InlineData(
        """
            "sub":"ann","exp":[1]
            """
    )]
    [InlineData(
        """
            "sub":"ann","exp":true
            """
    )]
    [InlineData("$exp")]
    [InlineData(
        """
            "sub":"",$exp
            """
    )]
    [InlineData(
        """
            "sub":null,$exp
            """
    )]
    [InlineData(
        """
            "sub":12,$exp
            """
    )]
    [InlineData(
        """
            "sub":true,$exp
            """
    )]
    [InlineData(
        """
            "sub":["ann"],$exp
            """
    )]
    [InlineData(
        """
            "sub":{"name":"ann"},$exp
            """
    )]
    [InlineData(
        """
            "sub":"a\u0000b",$exp
            """
    )]
    [InlineData(
        """
            "sub":"\ud800",$exp
            """
    )]
    [InlineData(
        """
            "sub":"ann",$exp,
            """
    )]
    [InlineData("")]
    public async Task A_token_without_a_user_or_an_end_is_refused(string claims)
    {
        await RefusesAsync(Node, Token.WithClaims(claims.Replace("$exp", Exp, StringComparison.Ordinal)));
    }

    [Fact]
    public async Task A_name_has_1_to_200_bytes()
    {
        await AcceptsAsync(Node, Token.Of("a", Now.AddHours(1)));
        await AcceptsAsync(Node, Token.Of(new string('a', 200), Now.AddHours(1)));
        await AcceptsAsync(Node, Token.Of(new string('\u00e4', 100), Now.AddHours(1)));
        await RefusesAsync(Node, Token.Of(new string('a', 201), Now.AddHours(1)));
        await RefusesAsync(Node, Token.Of(new string('\u00e4', 101), Now.AddHours(1)));
    }

    [Theory]
    [InlineData("1e3")]
    [InlineData("-1")]
    [InlineData("1e400")]
    [InlineData("99999999999999999")]
    [InlineData("99999999999999999999999999")]
    [InlineData("\"32503680000\"")]
    [InlineData("32503680000.5")]
    public async Task An_invalid_expiry_does_not_fail_the_node(string end)
    {
        var answer = await AskAsync(Node, Token.WithClaims("\"sub\":\"ann\"", $"\"exp\":{end}"));
        Assert.True(answer.Status is 200 or 401, $"{answer.Status} {answer.Body}");
        Assert.Empty(Node.Warnings);
    }

    [Fact]
    public async Task A_signature_of_another_algorithm_or_none_is_refused()
    {
        var secret = Encoding.UTF8.GetBytes(Token.Secret);
        await AcceptsAsync(Node, Token.Make(Hs256, Ann, Token.Hs256));
        string[] headers =
        [
            """{"alg":"none"}""",
            """{"alg":"None","typ":"JWT"}""",
            """{"alg":"NONE"}""",
            """{"alg":""}""",
            """{"typ":"JWT"}""",
            "{}",
            """{"alg":"HS256"}""",
        ];
        foreach (var header in headers)
        {
            await RefusesAsync(Node, Token.Make(header, Ann, _ => []));
        }

        foreach (var header in headers[..^1])
        {
            await RefusesAsync(Node, Token.Make(header, Ann, Token.Hs256));
        }

        await RefusesAsync(Node, Token.Make("""{"alg":"HS384"}""", Ann, bytes => HMACSHA384.HashData(secret, bytes)));
        await RefusesAsync(Node, Token.Make("""{"alg":"HS512"}""", Ann, bytes => HMACSHA512.HashData(secret, bytes)));
        await RefusesAsync(Node, Token.Make(Rs256, Ann, bytes => SigningKeys.Rs256(keys.Rsa, bytes)));
        await RefusesAsync(
            Node,
            Token.Make("""{"alg":"HS256","crit":["exp"]}""", Ann, bytes =>
                HMACSHA256.HashData(Array.Empty<byte>(), bytes)
            )
        );
        await RefusesAsync(Node, Token.Make("""{"alg":"HS256","crit":["x"],"x":1}""", Ann, Token.Hs256));
        await RefusesAsync(Node, Token.Make("""{"alg":"HS256","crit":[]}""", Ann, Token.Hs256));
        await RefusesAsync(Node, Token.Make(Hs256, Ann, bytes => HMACSHA256.HashData(Array.Empty<byte>(), bytes)));
        await RefusesAsync(Node, Token.Make(Hs256, Ann, bytes => Token.Hs256(bytes)[..16]));
    }

    [Fact]
    public async Task A_key_embedded_in_a_token_is_not_trusted()
    {
        var rsa = keys.OtherRsa.ExportParameters(false);
        var jwk = $$"""{"kty":"RSA","n":"{{Token.Base64(rsa.Modulus!)}}","e":"{{Token.Base64(rsa.Exponent!)}}"}""";
        await using var file = await KeysFile.WriteAsync(keys.Pem);
        await using var node = await Node.StartAsync(("JwtKeys", file.Path));
        foreach (
            var member in new[]
            {
                $"\"jwk\":{jwk}",
                "\"jku\":\"http://127.0.0.1:1/keys\"",
                "\"x5u\":\"http://127.0.0.1:1/keys\"",
                "\"kid\":\"../../../dev/null\"",
            }
        )
        {
            await RefusesAsync(
                node,
                Token.Make($$"""{"alg":"RS256",{{member}}}""", Ann, bytes => SigningKeys.Rs256(keys.OtherRsa, bytes))
            );
        }
    }

    [Fact]
    public async Task A_token_that_was_changed_is_refused()
    {
        var parts = Token.Of("ann", Now.AddHours(1)).Split('.');
        var other = Token.Of("ann", Now.AddHours(1), "\"admin\":true").Split('.');
        await RefusesAsync(Node, $"{parts[0]}.{other[1]}.{parts[2]}");
        await RefusesAsync(Node, $"{parts[0]}.{parts[1]}.{other[2]}");
        await RefusesAsync(Node, $"{parts[0]}.{parts[1]}.");
        await RefusesAsync(Node, $"{parts[0]}.{parts[1]}");
        await RefusesAsync(Node, $"{parts[0]}..{parts[2]}");
        await RefusesAsync(Node, $"{parts[0]}.{parts[1]}.{parts[2]}.");
        await RefusesAsync(Node, $"{parts[0]}.{parts[1]}.{parts[2]}.{parts[1]}.{parts[2]}");

        // What is wrong with a token that nobody signed is nobody's business.
        var expired = Token.Of("ann", Now.AddHours(-1)).Split('.');
        await RefusesAsync(Node, $"{expired[0]}.{expired[1]}.{parts[2]}");
    }

    [Theory]
    [InlineData("\"roles\":[\"endpoint:1234\"]", true)]
    [InlineData("\"roles\":[\"endpoint:1\",\"endpoint:1234\",\"endpoint:1234\"]", true)]
    [InlineData("\"roles\":\"endpoint:1234\"", true)]
    [InlineData("\"roles\":[1,null,\"endpoint:1234\",{\"a\":1}]", true)]
    [InlineData("\"roles\":[\"\\ud800\",\"endpoint:1234\"]", true)]
    [InlineData("\"a\":1", false)]
    [InlineData("\"roles\":[]", false)]
    [InlineData("\"roles\":null", false)]
    [InlineData("\"roles\":true", false)]
    [InlineData("\"roles\":[1,2.5,true,null]", false)]
    [InlineData("\"roles\":{\"endpoint:1234\":true}", false)]
    [InlineData("\"roles\":[{\"name\":\"endpoint:1234\"}]", false)]
    [InlineData("\"roles\":[[\"endpoint:1234\"]]", false)]
    [InlineData("\"roles\":\"[\\\"endpoint:1234\\\"]\"", false)]
    [InlineData("\"roles\":\"endpoint:1,endpoint:1234\"", false)]
    [InlineData("\"roles\":\"endpoint:1 endpoint:1234\"", false)]
    [InlineData("\"roles\":[\"ENDPOINT:1234\"]", false)]
    [InlineData("\"roles\":[\"endpoint:12345\",\"endpoint:*\",\"endpoint\"]", false)]
    [InlineData("\"Roles\":[\"endpoint:1234\"]", false)]
    [InlineData("\"role\":[\"endpoint:1234\"]", false)]
    [InlineData("\"roles\":[\"support\",\"dial_calls\"]", false)]
    [InlineData("\"roles\":[\"endpoint:1234\"],\"roles\":[]", false)]
    public async Task A_role_is_a_text_that_equals_the_room(string claims, bool isMine)
    {
        var token = Token.Of("ann", Now.AddHours(1), claims);
        await AcceptsAsync(Node, token);
        var answer = await GuardedNode.AskWithAsync(Node, "GET /rooms/endpoint:1234", token);
        Assert.Equal(isMine ? 200 : 403, answer.Status);
        (await GuardedNode.AskWithAsync(Node, "GET /rooms/support", token)).IsProblem(403, "forbidden_room");
        (await GuardedNode.AskWithAsync(Node, "GET /rooms/dial_calls", token)).IsProblem(403, "forbidden_room");
    }

    [Theory]
    [InlineData("endpoint:*", true)]
    [InlineData("domain:example.com:*", true)]
    [InlineData("endpoint:12:*", false)]
    [InlineData("domain:*", false)]
    [InlineData("endpoint:1", false)]
    [InlineData("support", false)]
    public async Task A_role_that_is_a_pattern_grants_that_pattern_and_nothing_that_matches_it(string room, bool isMine)
    {
        var token = Token.Of("ann", Now.AddHours(1), "\"roles\":[\"endpoint:*\",\"domain:example.com:*\",\"*\"]");
        await using var client = await Node.ConnectAsync(("Authorization", "Bearer " + token));
        var answer = await client.AckAsync("subscribe", $"\"{room}\"");
        Assert.Contains(isMine ? "\"ok\":true" : "\"forbidden_room\"", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_pattern_is_left_when_the_next_token_has_no_role_of_its_name()
    {
        var token = Token.Of("ann", Now.AddHours(1), "\"roles\":[\"endpoint:*\"]");
        await using var client = await Node.ConnectAsync(("Authorization", "Bearer " + token));
        await client.AckAsync("subscribe", "\"endpoint:*\"");
        await client.ReadAllAsync();
        var next = Token.Of("ann", Now.AddHours(1), "\"roles\":[\"endpoint:1\"]");
        await client.AckAsync("auth", $$"""{"token":"{{next}}"}""");
        Assert.Equal("""{"event":"left","data":"endpoint:*"}""", await client.ReadAsync());
    }

    [Theory]
    [InlineData("true", true)]
    [InlineData("false", false)]
    [InlineData("null", false)]
    [InlineData("\"true\"", false)]
    [InlineData("\"True\"", false)]
    [InlineData("1", false)]
    [InlineData("1.0", false)]
    [InlineData("\"1\"", false)]
    [InlineData("[true]", false)]
    [InlineData("{\"is\":true}", false)]
    public async Task Only_the_value_true_makes_an_admin(string admin, bool isAdmin)
    {
        var answer = await GuardedNode.AskWithAsync(
            Node,
            "GET /rooms/support",
            Token.Of("ann", Now.AddHours(1), $"\"admin\":{admin}")
        );
        Assert.Equal(isAdmin ? 200 : 403, answer.Status);
    }

    [Fact]
    public async Task Issuer_and_audience_are_required_if_configured()
    {
        await using var node = await GuardedNode.StartAsync(
            ("JwtIssuer", "https://login.example"),
            ("JwtAudience", "dmb")
        );
        const string issuer = "\"iss\":\"https://login.example\"";
        await AcceptsAsync(node, Token.WithClaims([.. Ann, issuer, "\"aud\":\"dmb\""]));
        await AcceptsAsync(node, Token.WithClaims([.. Ann, issuer, "\"aud\":[\"desk\",\"dmb\"]"]));
        string[][] wrong =
        [
            [],
            [issuer],
            ["\"aud\":\"dmb\""],
            [issuer, "\"aud\":\"desk\""],
            [issuer, "\"aud\":[\"desk\"]"],
            [issuer, "\"aud\":[]"],
            [issuer, "\"aud\":\"DMB\""],
            [issuer, "\"aud\":12"],
            ["\"iss\":\"https://login.example/\"", "\"aud\":\"dmb\""],
            ["\"iss\":\"\"", "\"aud\":\"dmb\""],
            ["\"iss\":12", "\"aud\":\"dmb\""],
        ];
        foreach (var claims in wrong)
        {
            await RefusesAsync(node, Token.WithClaims([.. Ann, .. claims]));
        }

        // Nobody asks where they are not set.
        await AcceptsAsync(Node, Token.WithClaims([.. Ann, "\"iss\":\"anybody\"", "\"aud\":\"anything\""]));
    }

    [Theory]
    [InlineData("pem")]
    [InlineData("certificates")]
    [InlineData("jwks")]
    public async Task Tokens_signed_by_any_key_of_the_file_are_accepted(string form)
    {
        await using var file = await KeysFile.WriteAsync(
            form switch
            {
                "pem" => keys.Pem,
                "jwks" => keys.Jwks(),
                _ => keys.Certificates(),
            }
        );
        await using var node = await Node.StartAsync(("JwtKeys", file.Path));
        string[] admin = [.. Ann, "\"admin\":true"];
        var (rs256, es256) = (
            Token.Make(Rs256, admin, bytes => SigningKeys.Rs256(keys.Rsa, bytes)),
            Token.Make(Es256, admin, bytes => SigningKeys.Es256(keys.Ec, bytes))
        );
        foreach (var token in new[] { rs256, es256 })
        {
            (await GuardedNode.AskWithAsync(node, "POST /_notify/call", token, "1")).TakenId();
            var parts = token.Split('.');
            await RefusesAsync(node, $"{parts[0]}.{parts[1]}.{parts[2][..^4]}");
            await RefusesAsync(node, $"{parts[0]}.{Token.WithClaims([.. admin, "\"a\":1"]).Split('.')[1]}.{parts[2]}");
        }

        // A kid is a hint: keys of PEM have none.
        foreach (var kid in new[] { "e1", "e2", "" })
        {
            await AcceptsAsync(
                node,
                Token.Make($$"""{"alg":"ES256","kid":"{{kid}}"}""", Ann, bytes => SigningKeys.Es256(keys.Ec, bytes))
            );
            await RefusesAsync(
                node,
                Token.Make($$"""{"alg":"ES256","kid":"{{kid}}"}""", Ann, bytes =>
                    SigningKeys.Es256(keys.OtherEc, bytes)
                )
            );
        }

        await RefusesAsync(node, Token.Make(Rs256, Ann, bytes => SigningKeys.Rs256(keys.OtherRsa, bytes)));
        await RefusesAsync(node, Token.Make(Es256, Ann, bytes => SigningKeys.Es256(keys.OtherEc, bytes)));
        await RefusesAsync(
            node,
            Token.Make(Es256, Ann, bytes =>
                keys.Ec.SignData(bytes, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence)
            )
        );
        await RefusesAsync(node, Token.Make(Es256, Ann, _ => new byte[64]));
        await RefusesAsync(
            node,
            Token.Make("""{"alg":"RS384"}""", Ann, bytes =>
                keys.Rsa.SignData(bytes, HashAlgorithmName.SHA384, RSASignaturePadding.Pkcs1)
            )
        );
        await RefusesAsync(
            node,
            Token.Make("""{"alg":"PS256"}""", Ann, bytes =>
                keys.Rsa.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pss)
            )
        );
        await RefusesAsync(node, Token.Make(Es256, Ann, bytes => SigningKeys.Rs256(keys.Rsa, bytes)));
        await RefusesAsync(node, Token.Make(Rs256, Ann, bytes => SigningKeys.Es256(keys.Ec, bytes)));
        await RefusesAsync(node, Token.WithClaims(Ann));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_token_signed_with_a_public_key_as_the_secret_is_refused(bool hasSecret)
    {
        var oct = RandomNumberGenerator.GetBytes(32);
        foreach (
            var text in new[]
            {
                keys.Pem,
                keys.Jwks($$"""{"kty":"oct","kid":"o1","alg":"HS256","k":"{{Token.Base64(oct)}}"}"""),
            }
        )
        {
            await using var file = await KeysFile.WriteAsync(text);
            await using var node = await Node.StartAsync([
                ("JwtKeys", file.Path),
                .. hasSecret ? [("JwtSecret", Token.Secret)] : ((string, string)[])[],
            ]);
            var pem = keys.Rsa.ExportSubjectPublicKeyInfoPem();
            var rsa = keys.Rsa.ExportParameters(false);
            byte[][] secrets =
            [
                Encoding.UTF8.GetBytes(pem),
                Encoding.UTF8.GetBytes(pem + "\n"),
                Encoding.UTF8.GetBytes(text),
                keys.Rsa.ExportSubjectPublicKeyInfo(),
                keys.Rsa.ExportRSAPublicKey(),
                rsa.Modulus!,
                rsa.Exponent!,
                Encoding.UTF8.GetBytes(keys.Ec.ExportSubjectPublicKeyInfoPem()),
                oct,
                [],
            ];
            foreach (var secret in secrets)
            {
                foreach (var kid in new[] { "", ",\"kid\":\"r1\"", ",\"kid\":\"o1\"" })
                {
                    await RefusesAsync(
                        node,
                        Token.Make($$"""{"alg":"HS256"{{kid}}}""", Ann, bytes => HMACSHA256.HashData(secret, bytes))
                    );
                }
            }

            await AcceptsAsync(node, Token.Make(Rs256, Ann, bytes => SigningKeys.Rs256(keys.Rsa, bytes)));
            await (hasSecret ? AcceptsAsync(node, Token.WithClaims(Ann)) : RefusesAsync(node, Token.WithClaims(Ann)));
        }
    }

    [Fact]
    public async Task A_changed_file_of_public_keys_applies_without_a_restart()
    {
        await using var file = await KeysFile.WriteAsync(keys.Pem);
        await using var node = await Node.StartAsync(("JwtKeys", file.Path));
        var (before, after) = (
            Token.Make(Rs256, Ann, bytes => SigningKeys.Rs256(keys.Rsa, bytes)),
            Token.Make(Rs256, Ann, bytes => SigningKeys.Rs256(keys.OtherRsa, bytes))
        );
        await AcceptsAsync(node, before);
        await RefusesAsync(node, after);

        await file.SetAsync("no key\n");
        node.Time.Advance(TimeSpan.FromSeconds(10));
        await AcceptsAsync(node, before);
        Assert.Contains(file.Path, Assert.Single(node.Warnings), StringComparison.Ordinal);

        await file.SetAsync(keys.OtherRsa.ExportRSAPublicKeyPem());
        node.Time.Advance(TimeSpan.FromSeconds(2));
        await AcceptsAsync(node, after);
        await RefusesAsync(node, before);
    }

    [Theory]
    [InlineData("rsa1024")]
    [InlineData("rsa1024 certificate")]
    [InlineData("rsa1024 jwk")]
    [InlineData("p384")]
    [InlineData("p384 jwk")]
    [InlineData("private")]
    [InlineData("oct")]
    [InlineData("garbage")]
    [InlineData("empty")]
    [InlineData("json")]
    [InlineData("broken pem")]
    [InlineData("broken jwk")]
    public async Task A_file_without_good_keys_is_one_line_on_stderr_and_exit_code_2(string which)
    {
        using var weak = RSA.Create(1_024);
        using var p384 = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        var (rsa, ec) = (weak.ExportParameters(false), p384.ExportParameters(false));
        await using var file = await KeysFile.WriteAsync(
            which switch
            {
                "rsa1024" => keys.Pem + weak.ExportSubjectPublicKeyInfoPem(),
                "rsa1024 certificate" => WeakCertificate(weak),
                "rsa1024 jwk" => keys.Jwks(
                    $$"""{"kty":"RSA","n":"{{Token.Base64(rsa.Modulus!)}}","e":"{{Token.Base64(rsa.Exponent!)}}"}"""
                ),
                "p384" => p384.ExportSubjectPublicKeyInfoPem(),
                "p384 jwk" => keys.Jwks(
                    $$"""{"kty":"EC","crv":"P-384","x":"{{Token.Base64(ec.Q.X!)}}","y":"{{Token.Base64(ec.Q.Y!)}}"}"""
                ),
                "private" => keys.Rsa.ExportPkcs8PrivateKeyPem(),
                "oct" => """{"keys":[{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}]}""",
                "garbage" => "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ",
                "empty" => "",
                "json" => "{\"keys\":12}",
                "broken pem" => keys.Pem.Replace("MII", "AAA", StringComparison.Ordinal),
                _ => """{"keys":[{"kty":"RSA","n":"!!!","e":"AQAB"}]}""",
            }
        );
        await using var broker = NodeProcess.Run(("DMB_JWT_KEYS", file.Path), ("REDIS_HOST", "none"));
        Assert.Equal(2, await broker.EndAsync());
        Assert.Equal(broker.Errors, broker.Lines);
        var error = Assert.Single(broker.Errors);
        Assert.StartsWith(
            $"DMB_JWT_KEYS: '{file.Path}' is not accepted; it takes PEM",
            error,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData(15_000)]
    [InlineData(16_385)]
    [InlineData(25_000)]
    public async Task A_token_above_the_maximum_length_is_refused(int length)
    {
        var start = Token.Of("ann", Now.AddHours(1), "\"a\":\"\"").Length;
        var token = Token.Of("ann", Now.AddHours(1), $"\"a\":\"{new string('a', (length - start) * 3 / 4)}\"");
        await (token.Length <= 16_384 ? AcceptsAsync(Node, token) : RefusesAsync(Node, token));
        await RefusesAsync(Node, "ey" + new string('a', length) + "..");
        await RefusesAsync(Node, "ey." + new string('a', length) + ".a");
    }

    [Fact]
    public async Task Random_token_headers_do_not_fail_the_node()
    {
        const int seed = 20_260_102;
        var random = new Random(seed);
        var good = Token.Of("ann", Now.AddHours(1), "\"roles\":[\"endpoint:1234\"]");
        var http = await RawHttp.ConnectAsync(Node);
        try
        {
            for (var i = 0; i < 3_000; i++)
            {
                var header = Garbage(random, good);
                await http.SendAsync($"GET /rooms/everyone HTTP/1.1\nHost: localhost\nAuthorization: {header}");
                var answer = await http.ReadAsync();
                Assert.True(answer.Status is 200 or 400 or 401, $"{header}: {answer.Status} {answer.Body}");
                if (answer.SaysClose)
                {
                    http.Dispose();
                    http = await RawHttp.ConnectAsync(Node);
                }
            }
        }
        finally
        {
            http.Dispose();
        }

        Assert.Empty(Node.Warnings);
    }

    private static string WeakCertificate(RSA key)
    {
        var until = new DateTimeOffset(2036, 1, 1, 0, 0, 0, TimeSpan.Zero);
        using var certificate = new System.Security.Cryptography.X509Certificates.CertificateRequest(
            "CN=weak",
            key,
            HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1
        ).CreateSelfSigned(until.AddYears(-20), until);
        return certificate.ExportCertificatePem();
    }

    private static string Garbage(Random random, string good)
    {
        switch (random.Next(7))
        {
            case 0:
                return $"Bearer ey{Text(random)}.{Text(random)}.{Text(random)}";
            case 1:
                return $"Bearer {Token.Make(Hs256, [Json(random), Json(random)], Token.Hs256)}";
            case 2:
                return $"Bearer {Token.Make(Json(random), ["\"sub\":\"ann\""], Token.Hs256)}";
            case 3:
                return $"Basic {Convert.ToBase64String(Bytes(random))}";
            case 4:
                var at = random.Next(good.Length);
                return $"Bearer {good[..at]}{(char)random.Next(' ', '~')}{good[Math.Min(good.Length, at + random.Next(3))..]}";
            case 5:
                return $"Bearer {Encoding.Latin1.GetString([.. Bytes(random).Where(value => value is > 31 and not 127)])}";
            default:
                return $"{Text(random)} {Text(random)}";
        }
    }

    private static byte[] Bytes(Random random)
    {
        var bytes = new byte[random.Next(200)];
        random.NextBytes(bytes);
        return bytes;
    }

    private static string Text(Random random) =>
        new([.. Enumerable.Range(0, random.Next(60)).Select(_ => (char)random.Next(' ', '~'))]);

    private static string Json(Random random)
    {
        string[] names = ["sub", "exp", "nbf", "roles", "admin", "alg", "typ", "kid", "iss", "aud", "", "crit"];
        string[] values =
        [
            "1",
            "-1",
            "1e400",
            "null",
            "true",
            "{}",
            "[]",
            "\"\"",
            "\"ann\"",
            "\"HS256\"",
            "[1,{\"a\":[null]}]",
            "\"\\ud800\"",
            "{",
            "9999999999999999999999",
            JsonSerializer.Serialize(Text(random)),
        ];
        return $"\"{names[random.Next(names.Length)]}\":{values[random.Next(values.Length)]}";
    }

    private static Task<RawAnswer> AskAsync(Node node, string token) =>
        GuardedNode.AskWithAsync(node, "GET /rooms/everyone", token);

    private static async Task AcceptsAsync(Node node, string token)
    {
        var answer = await AskAsync(node, token);
        Assert.True(answer.Status == 200, $"{answer.Status} {answer.Body}\n{token}");
    }

    private static async Task RefusesAsync(Node node, string token)
    {
        var answer = await AskAsync(node, token);
        answer.IsProblem(401, "unauthenticated");
        Assert.Equal("Bearer", answer.Headers["WWW-Authenticate"]);
    }
}
