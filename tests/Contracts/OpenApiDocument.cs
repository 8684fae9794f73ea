using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Telemetry;
using Microsoft.AspNetCore.Mvc.Testing;
using Microsoft.AspNetCore.TestHost;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.OpenApi;
using Swashbuckle.AspNetCore.Swagger;
using Swashbuckle.AspNetCore.SwaggerGen;

namespace Dmb.Tests.Contracts;

/// <summary>openapi.yaml, made from the endpoints of the running app.</summary>
internal static class OpenApiDocument
{
    public static async Task<string> GenerateAsync()
    {
        await using var app = new WebApplicationFactory<Program>().WithWebHostBuilder(host =>
        {
            host.UseSetting("Dmb:Port", "0");
            host.UseSetting("Dmb:RedisHost", "none");
            host.ConfigureTestServices(services =>
                services
                    .ConfigureHttpJsonOptions(json =>
                        json.SerializerOptions.PropertyNamingPolicy = ApiJson.Wire.Options.PropertyNamingPolicy
                    )
                    .AddEndpointsApiExplorer()
                    .AddSwaggerGen(Describe)
            );
        });
        app.UseKestrel(0);
        app.StartServer();
        var document = await app.Services.GetRequiredService<IAsyncSwaggerProvider>().GetSwaggerAsync("v1");
        using var text = new StringWriter { NewLine = "\n" };
        document.SerializeAsV31(new OpenApiYamlWriter(text));
        return text.ToString();
    }

    private static void Describe(SwaggerGenOptions options)
    {
        options.SwaggerDoc(
            "v1",
            new OpenApiInfo
            {
                Title = "DMB, the Duplex Message Broker",
                Version = BuildInfo.Version,
                Description =
                    "Push events over HTTP; sockets and streams in their rooms get them. /ws and the Redis channels "
                    + "are described in /asyncapi.yaml.",
            }
        );
        options.SupportNonNullableReferenceTypes();
        options.MapType<JsonNode>(() => new OpenApiSchema { Type = JsonSchemaType.String | JsonSchemaType.Number });
        options.IncludeXmlComments(typeof(Program).Assembly);
        options.AddSecurityDefinition(
            "bearer",
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.Http,
                Scheme = "bearer",
                Description =
                    "A host's key, or a user's token (JWT). Where the node has neither keys nor tokens, nobody is "
                    + "asked.",
            }
        );
        options.AddSecurityDefinition(
            "key",
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey,
                In = ParameterLocation.Header,
                Name = "X-Api-Key",
                Description = "A host's key.",
            }
        );
        options.AddSecurityDefinition(
            "basic",
            new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.Http,
                Scheme = "basic",
                Description = "The name and the secret of a host's key.",
            }
        );
        options.OperationFilter<Operation>();
        options.SchemaFilter<RequiredMembers>();
    }

    /// <summary>The examples and headers that the endpoints name, and the body that takes anything.</summary>
    private sealed class Operation : IOperationFilter
    {
        public void Apply(OpenApiOperation operation, OperationFilterContext context)
        {
            var metadata = context.ApiDescription.ActionDescriptor.EndpointMetadata;
            foreach (var example in metadata.OfType<RouteExample>())
            {
                Parameter(operation, example.Name).Example = JsonValue.Create(example.Value);
            }

            foreach (var query in metadata.OfType<QueryParameter>())
            {
                if (
                    operation
                        .Parameters?.OfType<OpenApiParameter>()
                        .FirstOrDefault(parameter => parameter.Name == query.Name) is
                    { } bound
                )
                {
                    bound.Description = query.Meaning;
                    continue;
                }

                var text = new OpenApiSchema { Type = JsonSchemaType.String };
                (operation.Parameters ??= []).Add(
                    new OpenApiParameter
                    {
                        Name = query.Name,
                        In = ParameterLocation.Query,
                        Description = query.Meaning,
                        Schema = query.IsList ? new OpenApiSchema { Type = JsonSchemaType.Array, Items = text } : text,
                        Example =
                            query.Example is null ? null
                            : query.IsList ? new JsonArray(query.Example)
                            : query.Example,
                    }
                );
            }

            if (metadata.OfType<Requirement>().Any())
            {
                operation.Security =
                [
                    .. ((string[])["bearer", "key", "basic"]).Select(scheme => new OpenApiSecurityRequirement
                    {
                        [new OpenApiSecuritySchemeReference(scheme, context.Document)] = [],
                    }),
                ];
            }

            foreach (var header in metadata.OfType<RequestHeader>())
            {
                (operation.Parameters ??= []).Add(
                    new OpenApiParameter
                    {
                        Name = header.Name,
                        In = ParameterLocation.Header,
                        Description = header.Meaning,
                        Schema = new OpenApiSchema { Type = JsonSchemaType.String },
                    }
                );
            }

            foreach (var example in metadata.OfType<RequestExample>())
            {
                operation.RequestBody = new OpenApiRequestBody
                {
                    Description = "JSON in UTF-8, whatever the content type says; no body is `{}`.",
                    Content = new Dictionary<string, IOpenApiMediaType>
                    {
                        ["application/json"] = new OpenApiMediaType
                        {
                            Schema = new OpenApiSchema(),
                            Example = JsonNode.Parse(example.Json),
                        },
                    },
                };
            }
        }

        private static OpenApiParameter Parameter(OpenApiOperation operation, string name) =>
            operation.Parameters!.OfType<OpenApiParameter>().Single(parameter => parameter.Name == name);
    }

    /// <summary>A member is required unless it is written only when it says something.</summary>
    private sealed class RequiredMembers : ISchemaFilter
    {
        public void Apply(IOpenApiSchema schema, SchemaFilterContext context)
        {
            if (
                schema is OpenApiSchema { Properties: not null } found
                && context.Type.Assembly == typeof(Program).Assembly
            )
            {
                found.Required = context
                    .Type.GetProperties()
                    .Where(property => property.GetCustomAttribute<JsonIgnoreAttribute>() is null)
                    .Select(property => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name))
                    .ToHashSet();
            }
        }
    }
}
