using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §10: the tokens of users.</summary>
public sealed class UserTokenTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private const string Hs256 = """{"alg":"HS256","typ":"JWT"}""";

    [Fact]
    public async Task A_token_holds_to_the_second_of_its_end()
    {
        await using var node = await GuardedNode.StartAsync();
        var end = DateTimeOffset.FromUnixTimeSeconds(node.Time.GetUtcNow().ToUnixTimeSeconds() + 60);
        var token = Token.Of("ann", end);
        Assert.Equal(200, await JoinAsync(node, token));
        node.Time.Advance(end - node.Time.GetUtcNow() - TimeSpan.FromMilliseconds(1));
        Assert.Equal(200, await JoinAsync(node, token));
        node.Time.Advance(TimeSpan.FromMilliseconds(1));
        var late = await AskAsync(node, token);
        late.IsProblem(401, "token_expired");
        Assert.Equal("Bearer error=\"invalid_token\"", late.Headers["WWW-Authenticate"]);
    }

    [Theory]
    [InlineData(0, 200)]
    [InlineData(59, 200)]
    [InlineData(62, 401)]
    public async Task A_token_that_is_not_valid_yet_is_taken_a_minute_before(int seconds, int status)
    {
        var now = guarded.Node.Time.GetUtcNow().ToUnixTimeSeconds();
        Assert.Equal(status, await JoinAsync(guarded.Node, guarded.TokenOf("ann", $"\"nbf\":{now + seconds}")));
    }

    public static TheoryData<string> Lacking =>
    [
        "\"exp\":4102444800",
        "\"sub\":\"ann\"",
        "\"sub\":\"\",\"exp\":4102444800",
        "\"sub\":7,\"exp\":4102444800",
        "\"sub\":null,\"exp\":4102444800",
        "\"sub\":[\"ann\"],\"exp\":4102444800",
        "\"sub\":\"a\\u0000b\",\"exp\":4102444800",
        "\"sub\":\"" + new string('x', 201) + "\",\"exp\":4102444800",
        "\"sub\":\"ann\",\"exp\":\"tomorrow\"",
        "\"sub\":\"ann\",\"exp\":null",
        "\"sub\":\"ann\",\"exp\":{}",
    ];

    [Theory]
    [MemberData(nameof(Lacking))]
    public async Task A_token_without_a_user_or_an_end_is_refused(string claims)
    {
        (await AskAsync(guarded.Node, Token.WithClaims(claims))).IsProblem(401, "unauthenticated");
    }

    [Fact]
    public async Task A_signature_that_is_missing_or_anothers_or_of_another_algorithm_is_refused()
    {
        string[] claims = ["\"sub\":\"ann\"", "\"exp\":4102444800"];
        var secret = Encoding.UTF8.GetBytes(Token.Secret);
        var good = Token.Make(Hs256, claims, Token.Hs256);
        Assert.Equal(200, await JoinAsync(guarded.Node, good));
        string[] bad =
        [
            Token.Make("""{"alg":"none"}""", claims, _ => []),
            Token.Make("""{"alg":"None","typ":"JWT"}""", claims, Token.Hs256),
            Token.Make("""{"typ":"JWT"}""", claims, Token.Hs256),
            Token.Make(Hs256, claims, _ => []),
            Token.Make(Hs256, claims, bytes => HMACSHA256.HashData("another secret, as long as the first one is"u8, bytes)),
            Token.Make("""{"alg":"HS384"}""", claims, bytes => HMACSHA384.HashData(secret, bytes)),
            Token.Make("""{"alg":"HS512"}""", claims, bytes => HMACSHA512.HashData(secret, bytes)),
            Token.Make("""{"alg":"RS256"}""", claims, Token.Hs256),
            Token.Make("""{"alg":"ES256"}""", claims, Token.Hs256),
            good[..^1] + (good[^1] == 'A' ? 'B' : 'A') + "A",
            $"{good.Split('.')[0]}.{Token.Base64("""{"sub":"root","exp":4102444800,"admin":true}"""u8.ToArray())}.{good.Split('.')[2]}",
            good + ".x", good.Replace('.', ' '), "ey..", "eyJ.." + new string('x', 20_000),
        ];
        foreach (var token in bad)
        {
            var answer = await AskAsync(guarded.Node, token);
            Assert.True(answer.Status == 401, $"{answer.Status} for {token}");
        }
    }

    [Theory]
    [InlineData("\"roles\":[\"endpoint:1234\"]", true)]
    [InlineData("\"roles\":[\"x:1\",\"endpoint:1234\"]", true)]
    [InlineData("\"roles\":\"endpoint:1234\"", true)]
    [InlineData("\"roles\":[]", false)]
    [InlineData("\"roles\":null", false)]
    [InlineData("\"roles\":[1234,{\"endpoint\":\"1234\"},null]", false)]
    [InlineData("\"roles\":{\"endpoint:1234\":true}", false)]
    [InlineData("\"role\":[\"endpoint:1234\"]", false)]
    [InlineData("\"admin\":true", true)]
    [InlineData("\"admin\":\"true\"", false)]
    [InlineData("\"admin\":1", false)]
    [InlineData("\"admin\":[true]", false)]
    public async Task Roles_are_texts_and_an_admin_is_true(string claim, bool mayJoin)
    {
        var answer = await AskAsync(guarded.Node, guarded.TokenOf("ann", claim), "/rooms/endpoint:1234");
        Assert.Equal(mayJoin ? 200 : 403, answer.Status);
    }

    [Fact]
    public async Task Issuer_and_audience_have_to_be_those_that_are_set()
    {
        await using var node = await GuardedNode.StartAsync(("JwtIssuer", "https://login.example.com"), ("JwtAudience", "dmb"));
        const string Issuer = "\"iss\":\"https://login.example.com\"";
        foreach (var (claims, status) in new (string[], int)[]
        {
            ([Issuer, "\"aud\":\"dmb\""], 200),
            ([Issuer, "\"aud\":[\"other\",\"dmb\"]"], 200),
            ([Issuer, "\"aud\":\"other\""], 401),
            ([Issuer], 401),
            (["\"iss\":\"https://login.example.com/\"", "\"aud\":\"dmb\""], 401),
            (["\"aud\":\"dmb\""], 401),
        })
        {
            Assert.Equal(status, await JoinAsync(node, Token.Of("ann", node.Time.GetUtcNow().AddHours(1), claims)));
        }
    }

    [Fact]
    public async Task Public_keys_take_RS256_and_ES256_and_are_no_secrets()
    {
        using var rsa = RSA.Create(2048);
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = RSA.Create(2048);
        var request = new CertificateRequest("CN=login", other, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using var certificate = request.CreateSelfSigned(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero), new DateTimeOffset(2027, 1, 1, 0, 0, 0, TimeSpan.Zero));
        using var file = new TemporaryFile($"{rsa.ExportSubjectPublicKeyInfoPem()}\n{ec.ExportSubjectPublicKeyInfoPem()}\n{certificate.ExportCertificatePem()}\n");
        await using var node = await Node.StartAsync(("JwtKeys", file.Path));
        await TakesAsync(node, rsa, ec, 200);
        Assert.Equal(200, await JoinAsync(node, Rs256(other)));

        using var stranger = RSA.Create(2048);
        using var strangeCurve = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await TakesAsync(node, stranger, strangeCurve, 401);

        // The key that is known to all, as the secret of an algorithm that wants one.
        foreach (var secret in new[] { rsa.ExportSubjectPublicKeyInfoPem(), rsa.ExportSubjectPublicKeyInfoPem() + "\n", rsa.ExportRSAPublicKeyPem() })
        {
            Assert.Equal(401, await JoinAsync(node, Token.Make(Hs256, Claims, bytes => HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), bytes))));
        }

        Assert.Equal(401, await JoinAsync(node, Token.Make(Hs256, Claims, bytes => HMACSHA256.HashData(rsa.ExportSubjectPublicKeyInfo(), bytes))));
        Assert.Equal(401, await JoinAsync(node, Token.Make("""{"alg":"PS256"}""", Claims, bytes => rsa.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pss))));
    }

    [Fact]
    public async Task A_JWKS_is_taken_without_its_secrets_and_again_when_it_changes()
    {
        using var rsa = RSA.Create(2048);
        using var ec = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var (numbers, point) = (rsa.ExportParameters(false), ec.ExportParameters(false));
        var oct = Token.Base64(Encoding.UTF8.GetBytes(Token.Secret));
        using var file = new TemporaryFile(
            $$"""
            {"keys":[
              {"kty":"RSA","use":"sig","kid":"r1","n":"{{Token.Base64(numbers.Modulus!)}}","e":"{{Token.Base64(numbers.Exponent!)}}"},
              {"kty":"EC","crv":"P-256","x":"{{Token.Base64(point.Q.X!)}}","y":"{{Token.Base64(point.Q.Y!)}}"},
              {"kty":"oct","k":"{{oct}}"}
            ]}
            """);
        await using var node = await Node.StartAsync(("JwtKeys", file.Path));
        await TakesAsync(node, rsa, ec, 200);
        Assert.Equal(401, await JoinAsync(node, Token.Make(Hs256, Claims, Token.Hs256)));
        Assert.Equal(200, await JoinAsync(node, Rs256(rsa, "\"kid\":\"r1\",")));
        Assert.Equal(200, await JoinAsync(node, Rs256(rsa, "\"kid\":\"who\",")));

        using var next = RSA.Create(2048);
        await File.WriteAllTextAsync(file.Path, next.ExportRSAPublicKeyPem());
        node.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(200, await JoinAsync(node, Rs256(next)));
        await TakesAsync(node, rsa, ec, 401);
    }

    [Fact]
    public async Task Random_credentials_are_refused_and_never_the_node_s_fault()
    {
        var random = new Random(1);
        var good = guarded.TokenOf("ann");
        using var http = await RawHttp.ConnectAsync(guarded.Node);
        for (var i = 0; i < 2_000; i++)
        {
            var token = good.ToCharArray();
            for (var j = random.Next(1, 4); j > 0; j--)
            {
                token[random.Next(token.Length)] = (char)random.Next(0x21, 0x7f);
            }

            var text = new string(token)[..random.Next(token.Length / 2, token.Length + 1)];
            if (text == good)
            {
                continue;
            }

            var scheme = random.Next(3) switch { 0 => "Basic", 1 => "bearer", _ => "Bearer" };
            await http.SendAsync($"GET /rooms/everyone HTTP/1.1\nHost: localhost\nAuthorization: {scheme} {text}");
            var answer = await http.ReadAsync();
            Assert.True(answer.Status is 401 or 200, $"{i}: {answer.Status} for {text}");
            if (answer.Status == 200)
            {
                // The last letter of a signature has bits that mean nothing.
                Assert.Equal(good[..^1], text[..^1]);
            }
        }
    }

    private static readonly string[] Claims = ["\"sub\":\"ann\"", "\"exp\":4102444800"];

    private static string Rs256(RSA key, string header = "") =>
        Token.Make($$"""{{{header}}"alg":"RS256"}""", Claims, bytes => key.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));

    private static async Task TakesAsync(Node node, RSA rsa, ECDsa ec, int status)
    {
        Assert.Equal(status, await JoinAsync(node, Rs256(rsa)));
        Assert.Equal(status, await JoinAsync(node, Token.Make("""{"alg":"ES256"}""", Claims, bytes => ec.SignData(bytes, HashAlgorithmName.SHA256))));
    }

    private static async Task<int> JoinAsync(Node node, string token) => (await AskAsync(node, token)).Status;

    private static Task<RawAnswer> AskAsync(Node node, string token, string path = "/rooms/everyone") =>
        RawHttp.AskAsync(node, string.Create(CultureInfo.InvariantCulture, $"GET {path}"), "", "Authorization: Bearer " + token);
}
