using System.Net;
using System.Net.Mime;
using System.Text;
using Alba;
using Dmb.Webhooks;
using Microsoft.Extensions.DependencyInjection;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

namespace Dmb.Tests.Contracts;

public sealed class OpenApiTests
{
    /// <summary>What asks for more than a request.</summary>
    private const string Socket = "connect";

    [Fact]
    public async Task The_committed_openapi_yaml_matches_the_endpoints()
    {
        var made = await OpenApiDocument.GenerateAsync();
        var committed = Path.Combine(Repository.Root, "openapi.yaml");
        if (Environment.GetEnvironmentVariable("UPDATE_OPENAPI") == "1")
        {
            await File.WriteAllTextAsync(committed, made);
        }

        Assert.Equal(await File.ReadAllTextAsync(committed), made);
    }

    [Fact]
    public async Task Each_route_has_a_summary_and_its_examples_work_when_pasted()
    {
        await using var node = await Node.StartAsync();
        var opened = "";
        await using var receiver = await Receiver.StartAsync();
        var webhook = "";
        foreach (var (path, method, operation) in Operations())
        {
            Assert.False(string.IsNullOrEmpty((string?)operation["summary"]), $"{method} {path} has no summary.");
            await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
            var session = JObject.Parse(await client.ReadAsync()).SelectToken("data.id");
            var letter = "";
            if (path.Contains("{letter}", StringComparison.Ordinal))
            {
                var letters = node.Services.GetRequiredService<IDeadLetters>();
                await letters.AddAsync(
                    new DeadLetter("", default, webhook, null, "call", "m", null, "status", "", 1, "1"u8.ToArray())
                );
                letter = (await letters.ReadAsync(before: null, 1))[0].Id;
            }

            using var request = Paste(
                node.Url,
                path.Replace("{id}", $"{session}", StringComparison.Ordinal)
                    .Replace("{webhook}", webhook, StringComparison.Ordinal)
                    .Replace("{letter}", letter, StringComparison.Ordinal),
                method,
                operation,
                receiver
            );
            if ((string?)operation["operationId"] == "postPackets")
            {
                // The session that was opened by the example before, which this ends.
                request.RequestUri = new Uri($"{request.RequestUri}&sid={JObject.Parse(opened[1..])["sid"]}");
                request.Content = new StringContent("1");
            }

            using var response = await node.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            if ((path, method) == ("/webhooks", "post"))
            {
                webhook = (string)JObject.Parse(await response.Content.ReadAsStringAsync())["id"]!;
            }

            Assert.True(
                response.IsSuccessStatusCode || (string?)operation["operationId"] == Socket,
                $"{request} is answered {response}"
            );
            Assert.NotNull(operation["responses"]![$"{(int)response.StatusCode}"]);
            opened = path == "/socket.io" ? await response.Content.ReadAsStringAsync() : "";
        }
    }

    [Fact]
    public async Task Each_route_of_an_unregistered_backend_is_answered_with_a_problem()
    {
        await using var node = await AlbaNode.StartAsync();
        foreach (
            var (path, method, operation) in Operations()
                .Where(route => route.Path.Contains("{bkid}", StringComparison.Ordinal))
        )
        {
            using var request = Paste(node.Http.BaseAddress!, path, method, operation);
            await node.Scenario(scenario =>
            {
                scenario.FromHttpRequestMessage(request);
                IsUnknown(scenario);
            });
        }

        await node.Scenario(scenario =>
        {
            scenario.Get.Url("/events?room=support&service=0123456789abcdef0123456789abcdef&user=user-42");
            IsUnknown(scenario);
        });
    }

    private static void IsUnknown(Scenario scenario)
    {
        scenario.StatusCodeShouldBe(HttpStatusCode.NotFound);
        scenario.ContentTypeShouldBe("application/problem+json");
        scenario.ContentShouldContain("\"unknown_backend\"");
    }

    /// <summary>
    /// All of them in an order in which they work: what is made before it is used, and used before it is removed.
    /// </summary>
    private static IEnumerable<(string Path, string Method, JObject Operation)> Operations() =>
        from path in Contract()["paths"]!.Children<JProperty>()
        from method in path.Value.Children<JProperty>()
        orderby method.Name == "delete", path.Name.StartsWith(
            "/register",
            StringComparison.Ordinal
        ) descending, path.Name == "/webhooks" descending
        select (path.Name, method.Name, (JObject)method.Value);

    private static HttpRequestMessage Paste(
        Uri node,
        string path,
        string method,
        JObject operation,
        Receiver? receiver = null
    )
    {
        var query = new List<string>();
        foreach (var parameter in operation["parameters"] ?? new JArray())
        {
            var name = (string)parameter["name"]!;
            switch ((string)parameter["in"]!, parameter["example"])
            {
                case ("path", { } example):
                    path = path.Replace(
                        $"{{{name}}}",
                        Uri.EscapeDataString((string)example!),
                        StringComparison.Ordinal
                    );
                    break;
                case ("query", { } example):
                    query.AddRange(
                        (example as JArray ?? new JArray(example)).Select(value =>
                            $"{name}={Uri.EscapeDataString((string)value!)}"
                        )
                    );
                    break;
                default:
                    Assert.True(
                        (bool?)parameter["required"] is null or false,
                        $"{method} {path} needs {name}, and has no example of it."
                    );
                    break;
            }
        }

        var request = new HttpRequestMessage(
            new HttpMethod(method),
            new Uri(node, $"{path}?{string.Join('&', query)}")
        );
        if (operation.SelectToken("requestBody.content['application/json'].example") is { } body)
        {
            request.Content = new StringContent(
                body.ToString(Formatting.None)
                    .Replace("https://example.com/hook", $"{receiver?.Url}", StringComparison.Ordinal),
                Encoding.UTF8,
                MediaTypeNames.Application.Json
            );
        }

        return request;
    }

    private static JObject Contract()
    {
        using var yaml = File.OpenText(Path.Combine(Repository.Root, "openapi.yaml"));
        return YamlJson.Read(yaml);
    }
}
