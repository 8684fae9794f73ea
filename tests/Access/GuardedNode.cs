using System.Net.Http.Headers;
using System.Text.Json;

namespace Dmb.Tests.Access;

/// <summary>A node that asks who is calling, and callers of every kind.</summary>
public sealed class GuardedNode : IAsyncLifetime
{
    /// <summary>The keys, each called like its scope; its secret is that of <see cref="SecretOf"/>.</summary>
    public static readonly string Keys = string.Join(
        ';',
        new[] { "read", "publish", "register", "admin" }.Select(scope => $"{scope}:{SecretOf(scope)}:{scope}")
    );

    public Node Node { get; private set; } = null!;

    public static string SecretOf(string key) => $"secret-of-the-key-{key}";

    public async ValueTask InitializeAsync() => Node = await StartAsync();

    public ValueTask DisposeAsync() => Node.DisposeAsync();

    public static Task<Node> StartAsync(params (string, string)[] settings) =>
        Node.StartAsync([("Keys", Keys), ("JwtSecret", Token.Secret), ("WebhookHandshake", "off"), .. settings]);

    /// <summary>What a caller shows, by the name of its column in docs/access.md; null for nobody.</summary>
    public string? CredentialsOf(string caller) =>
        caller switch
        {
            "nobody" => null,
            "user" => TokenOf("ann"),
            "with the role" => TokenOf("ann", "\"roles\":[\"endpoint:1234\"]"),
            "admin" => TokenOf("root", "\"admin\":true"),
            "admin key" => SecretOf("admin"),
            _ => SecretOf(caller),
        };

    public string TokenOf(string user, params string[] claims) =>
        Token.Of(user, Node.Time.GetUtcNow().AddHours(1), claims);

    /// <summary>A client that shows this, a key or a token, with each request.</summary>
    public static HttpClient HttpOf(string shown)
    {
        var http = new HttpClient { Timeout = Node.Patience };
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", shown);
        return http;
    }

    /// <summary>Asks with a key or a token, on a connection of its own.</summary>
    public static Task<RawAnswer> AskWithAsync(Node node, string request, string shown, string body = "") =>
        RawHttp.AskAsync(node, request, body, "Authorization: Bearer " + shown);

    /// <summary>A client of <c>/ws</c>, its welcome read.</summary>
    public Task<TestClient> ConnectAsync(string caller) =>
        CredentialsOf(caller) is { } shown
            ? Node.ConnectAsync(("Authorization", "Bearer " + shown))
            : Node.ConnectAsync();

    /// <summary>Makes a client of <c>/ws</c> a backend; its bkid.</summary>
    public static async Task<string> RegisterAsync(TestClient client) =>
        JsonElement
            .Parse(await client.AckAsync("dmb:reconnect", "{\"name\":\"billing\"}"))
            .GetProperty("data")
            .GetProperty("bkid")
            .GetString()!;

    /// <summary>Sends a request; completes with the head of the answer.</summary>
    public async Task<HttpResponseMessage> AskAsync(string method, string path, string caller, string? body = null)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(Node.Url, path));
        request.Content = body is null ? null : new StringContent(body);
        request.Headers.Authorization = CredentialsOf(caller) is { } shown
            ? new AuthenticationHeaderValue("Bearer", shown)
            : null;
        return await Node.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }
}
