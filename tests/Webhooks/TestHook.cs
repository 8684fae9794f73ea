using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Webhooks;

/// <summary>A registered webhook, as a test plays its owner.</summary>
/// <param name="Id">Its identity.</param>
/// <param name="Secret">What its deliveries are signed with.</param>
public sealed record TestHook(string Id, string Secret)
{
    /// <summary>Registers a webhook; <paramref name="members"/> are JSON that follows the URL.</summary>
    public static async Task<TestHook> RegisterAsync(HttpClient http, Uri url, string members)
    {
        var (status, body) = await AskAsync(http, $$"""{"url":"{{url}}",{{members}}}""");
        Assert.True(status == HttpStatusCode.Created, body);
        var answer = JsonElement.Parse(body);
        return new TestHook(answer.GetProperty("id").GetString()!, answer.GetProperty("secret").GetString()!);
    }

    /// <summary>Asks until all nodes know a webhook; their answers set the pace.</summary>
    public static async Task IsKnownAsync(IEnumerable<NodeProcess> nodes)
    {
        foreach (var node in nodes)
        {
            while ((await node.GetAsync("/webhooks")).GetProperty("items").GetArrayLength() == 0)
            {
                await Task.Yield();
            }
        }
    }

    /// <summary>Asks for a webhook.</summary>
    public static async Task<(HttpStatusCode Status, string Body)> AskAsync(HttpClient http, string json)
    {
        using var body = new StringContent(json);
        using var response = await http.PostAsync(new Uri("/webhooks", UriKind.Relative), body);
        return (response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    /// <summary>The signature that a delivery should have, after Standard Webhooks.</summary>
    public static string SignatureOf(Delivery delivery, string secret)
    {
        var signed = $"{delivery["webhook-id"]}.{delivery["webhook-timestamp"]}.{delivery.Body}";
        var key = Convert.FromBase64String(secret["whsec_".Length..]);
        return "v1," + Convert.ToBase64String(HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(signed)));
    }
}
